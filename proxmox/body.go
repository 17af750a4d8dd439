package proxmox

import (
	"bytes"
	"cmp"
	"io"
	"net/http"
	"strings"
)

// The most of an answer that is read, in bytes.
const (
	oneLimit  = 1 << 20  // about one thing: a config has at most some hundred kilobytes
	someLimit = 4 << 20  // short lists: a page of a task's log, tasks, snapshots with their notes, storages, networks, templates to download, rights
	listLimit = 32 << 20 // lists that grow with the node: of ten thousand guests or archives they are a fifth of it
)

// lists are the last parts of the paths of such lists.
var lists = map[string]int{"lxc": listLimit, "qemu": listLimit, "resources": listLimit, "content": listLimit, "permissions": listLimit, "acl": listLimit,
	"log": someLimit, "tasks": someLimit, "snapshot": someLimit, "storage": someLimit, "network": someLimit, "aplinfo": someLimit}

// mostOf is the most of the answer to a request that is read. What a write answers is about one thing.
func mostOf(method, path string) int {
	switch {
	case method != http.MethodGet:
		return oneLimit
	case strings.HasPrefix(path, "/pools/"): // a pool tells its members
		return listLimit
	}
	return cmp.Or(lists[path[strings.LastIndexByte(path, '/')+1:]], oneLimit)
}

// readBody reads an answer, up to one byte more than is allowed.
func readBody(res *http.Response, most int) ([]byte, error) {
	var b bytes.Buffer
	if n := res.ContentLength; n > 0 && n <= int64(most) {
		b.Grow(int(n) + bytes.MinRead) // room to see its end, too
	}
	_, err := b.ReadFrom(io.LimitReader(res.Body, int64(most)+1))
	return b.Bytes(), err
}
