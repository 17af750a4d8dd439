package proxmox

import (
	"context"
	"regexp"
)

var sha512Sum = regexp.MustCompile(`\A[0-9a-f]{128}\z`)

// Appliances are the templates that the node's list of appliances has, with their SHA-512 in hexadecimal digits where the list says it. Any valid
// token may ask. What somebody has uploaded is not in it, nor what left it with a newer version.
func (v *View) Appliances(ctx context.Context, node string) (map[string]string, error) {
	w, _, err := read[[]struct{ Template, SHA512Sum text }](ctx, v, "/nodes/"+node+"/aplinfo", nil)
	if err != nil {
		return nil, err
	}
	sums := map[string]string{}
	for _, e := range w {
		if sum := string(e.SHA512Sum); sha512Sum.MatchString(sum) {
			sums[string(e.Template)] = sum
		}
	}
	return sums, nil
}
