package proxmox

import (
	"bytes"
	"sync"
)

// answersLimit is how many bytes of bodies a generation of Answers holds: those of a pass over a
// thousand guests. What was decoded of them costs some times that.
const answersLimit = 4 << 20

// Answers are the latest answers of a node to the questions of its Views, and what was decoded of
// them: what has not changed since costs a comparison, not a decoding. What was decoded is only
// read. The zero value is empty and ready; it is safe for concurrent use.
//
// There are two generations: when the young one is full it takes the place of the old one. What
// is asked for again and again stays.
type Answers struct {
	mu         sync.Mutex
	young, old map[string]*reply // by request
	size       int               // of the bodies in young
}

// note notes the answer to a request. One that is the same as the latest shares what was decoded.
func (a *Answers) note(request string, r *reply) {
	if len(r.body) > answersLimit {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	was, young := a.young[request]
	if !young {
		was = a.old[request]
	}
	if was != nil && bytes.Equal(was.body, r.body) {
		r.body, r.decoded = was.body, was.decoded
	} else {
		r.body = bytes.Clone(r.body) // without the room in which it was read
		if was != nil {
			r.decoded.before = was.decoded.latest()
		}
	}
	if young {
		a.size -= len(was.body)
	}
	if a.size += len(r.body); a.young == nil || a.size > answersLimit {
		a.young, a.old, a.size = map[string]*reply{}, a.young, len(r.body)
	}
	a.young[request] = r
}

// latest are the entries of the latest list that was decoded.
func (d *decoded) latest() any {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.entries != nil {
		return d.entries
	}
	return d.before
}
