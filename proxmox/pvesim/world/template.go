package world

import (
	"crypto/sha512"
	"encoding/hex"
	"fmt"
)

// TemplateText stands for what is in the file of a container template: a copy of it is a plain file with this text.
func (v *Volume) TemplateText(name string) string {
	return fmt.Sprintf("pvesim: the template %s\nsize %d\nos %s\n", name, v.Size, v.OS)
}

// ParseTemplate is the template of a text; nil where it is none.
func ParseTemplate(name, text string) *Volume {
	v := &Volume{}
	if _, err := fmt.Sscanf(text, "pvesim: the template "+name+"\nsize %d\nos %s\n", &v.Size, &v.OS); err != nil || v.TemplateText(name) != text {
		return nil
	}
	return v
}

// SHA512 is the checksum of a text, in hexadecimal digits.
func SHA512(text string) string {
	sum := sha512.Sum512([]byte(text))
	return hex.EncodeToString(sum[:])
}

// Appliances are the templates that Proxmox offers: those of the fresh world, by the names of their files.
func Appliances() map[string]*Volume {
	all := map[string]*Volume{}
	for name, v := range Fresh().Nodes[0].Disks[0].Dirs["/var/lib/vz"] {
		all[name[len("vztmpl/"):]] = v
	}
	return all
}
