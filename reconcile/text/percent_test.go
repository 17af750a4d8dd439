package text

import "testing"

// Only "progress N% (read ..." was found in a source, that of vma. The other forms are assumed: no source or recording has
// confirmed them.
func TestPercent(t *testing.T) {
	for line, want := range map[string]int{
		" 61% (122.0 GiB of 200.0 GiB) in 31m 4s, read: 65.5 MiB/s, write: 60.1 MiB/s": 61,
		"100% (32.0 GiB of 32.0 GiB) in 2m 9s, read: 1.1 GiB/s, write: 0 B/s":          100,
		"status: 3% (1073741824/34359738368), sparse 0% (0), duration 4":               3,
		"progress 12% (read 2577072128 bytes, duration 1 sec)":                         12,
		"transferred 1.0 GiB of 8.0 GiB (12.50%) in 5s":                                12,
		"creating vzdump archive '/mnt/usb/dump/vzdump-lxc-111.tar.zst'":               -1,
		"Total bytes written: 644526080 (615MiB, 101MiB/s)":                            -1,
		"archive is 61% (of what it was)":                                              -1,
		"status: 999% (1/1)":                                                           -1,
		"":                                                                             -1,
	} {
		got, ok := Percent(line)
		if !ok {
			got = -1
		}
		if got != want {
			t.Errorf("%q: %d, want %d", line, got, want)
		}
	}
}
