package source

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/hashicorp/go-multierror"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/config"
	"github.com/felhom/felhom-agent/spec"
)

// WriteErrors prints an error, or each of several on a line of its own. The mistakes of files begin with
// FILE:LINE, so that editors find them; all else begins with the program's name.
func WriteErrors(w io.Writer, err error) {
	for _, err := range each(err) {
		var config *config.Error
		var mistake *spec.Error
		text := strings.TrimSpace(err.Error())
		if !errors.As(err, &mistake) && !errors.As(err, &config) {
			text = "felhom-agent: " + text
		}
		fmt.Fprintln(w, text)
	}
}

// each unpacks an error that collects several.
func each(err error) []error {
	var several *multierror.Error
	if errors.As(err, &several) {
		return several.Errors
	}
	return []error{err}
}
