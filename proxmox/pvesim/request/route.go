package request

import (
	"github.com/felhom/felhom-agent/proxmox/pvesim/schema"
)

// A Route is one method of the API.
type Route struct {
	Schema    *schema.Schema
	Perm      func(*Call) error
	Run       func(*Call) error
	Node      bool // goes to the node of the path
	Protected bool // runs in pvedaemon
	World     bool // needs no credentials
	Ticket    bool // refuses API tokens
}
