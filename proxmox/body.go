package proxmox

import (
	"bytes"
	"io"
	"net/http"
	"strings"
)

// The most of an answer that is read, in bytes.
const (
	oneLimit  = 1 << 20  // about one thing: a config has at most some hundred kilobytes
	logLimit  = 4 << 20  // a page of a task's log, the list of tasks, the snapshots of a guest with their notes
	listLimit = 32 << 20 // lists that grow with the node: of ten thousand guests or archives they are a fifth of it
)

// lists are the last parts of the paths of such lists.
var lists = map[string]int{"lxc": listLimit, "qemu": listLimit, "resources": listLimit, "content": listLimit, "permissions": listLimit,
	"log": logLimit, "tasks": logLimit, "snapshot": logLimit}

// mostOf is the most of the answer to a request that is read. What a write answers is about one thing.
func mostOf(method, path string) int {
	if most, ok := lists[path[strings.LastIndexByte(path, '/')+1:]]; ok && method == http.MethodGet {
		return most
	}
	return oneLimit
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
