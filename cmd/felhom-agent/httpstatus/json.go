package httpstatus

import (
	"encoding/json"
	"io"
)

// WriteJSON prints a document. A marker and an arrow (<!--, ->) stay readable.
func WriteJSON(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}
