package privileged

import (
	"bytes"
	"context"
	"strconv"
	"strings"
	"time"
)

// probePatience is how long a disk may take to show what is on it. One that sleeps spins up in some ten seconds; one that fails, or whose cable does, may
// keep its reader for ever, and must not keep the others from being seen.
const probePatience = 20 * time.Second

const blkid = "/usr/sbin/blkid"

// probed is what blkid found on one block device.
type probed struct {
	device, uuid, label, fstype string
	member                      string   // which of the devices of its file system it is (UUID_SUB), where that can have several
	kinds                       []string // of several file systems that left their signatures, so that nobody can say which of them it is
	esp                         bool     // an EFI system partition
	size                        int64    // bytes, as far as blkid says
	silent                      bool     // it did not answer in time, so what is on it is not known
}

// shown says whether there is something to say about the device.
func (p probed) shown() bool { return p.silent || len(p.kinds) > 0 || p.uuid != "" && p.fstype != "" }

const silence = "does not answer: it or its cable may be failing"

// ambivalent is blkid's exit code for signatures of several file systems.
const ambivalent = 8

// probe reads what is on a device with blkid's low-level probing: its cache and udev's may still name the disk that was there before. ok is false
// where there is no file system, the device is gone or silent, or what is on it is ambivalent.
func (r diskReader) probe(device string) (p probed, ok bool, err error) {
	ctx, cancel := context.WithTimeout(r.ctx, probePatience)
	defer cancel()
	out, exit, err := r.host.Run(ctx, blkid, []string{"-p", "-o", "export", device}, nil)
	if err == nil && exit == ambivalent { // only this form names them
		out, _, err = r.host.Run(ctx, blkid, []string{"-p", "-o", "udev", device}, nil)
	}
	if err != nil && ctx.Err() != nil && r.ctx.Err() == nil {
		return probed{device: device, silent: true}, false, nil
	}
	if err != nil {
		return probed{}, false, &FailedError{Op: r.op, Program: blkid, Reason: err.Error()}
	}
	if exit == ambivalent {
		return probed{device: device, kinds: parseAmbivalent(out)}, false, nil
	}
	if exit != 0 {
		return probed{device: device}, false, nil
	}
	p = parseBlkid(out)
	p.device = device
	return p, p.uuid != "" && p.fstype != "", nil
}

// parseAmbivalent reads the kinds of file systems from `blkid -p -o udev`: ID_FS_AMBIVALENT=filesystem:ext4:1.0 other:swap:1
func parseAmbivalent(out []byte) []string {
	kinds := []string{}
	for _, line := range strings.Split(string(out), "\n") {
		list, ok := strings.CutPrefix(line, "ID_FS_AMBIVALENT=")
		if !ok {
			continue
		}
		for _, item := range strings.Fields(list) {
			if f := strings.Split(item, ":"); len(f) > 1 && f[1] != "" {
				kinds = append(kinds, printable(f[1]))
			}
		}
	}
	if len(kinds) == 0 {
		kinds = append(kinds, "unknown")
	}
	return kinds
}

// parseBlkid reads `blkid -p -o export`: KEY=value lines, shell characters escaped with a backslash, other bytes as \xHH.
func parseBlkid(out []byte) probed {
	var p probed
	var parts, blocks, blockSize int64
	for _, line := range strings.Split(string(bytes.TrimSpace(out)), "\n") {
		key, value, ok := strings.Cut(line, "=")
		if !ok {
			continue
		}
		value = unescapeShell(value)
		n, _ := strconv.ParseInt(value, 10, 64)
		switch key {
		case "UUID":
			p.uuid = value
		case "UUID_SUB":
			p.member = value
		case "PART_ENTRY_TYPE":
			p.esp = espType.MatchString(line)
		case "LABEL":
			p.label = value
		case "TYPE":
			p.fstype = value
		case "PART_ENTRY_SIZE":
			parts = n * 512
		case "FSLASTBLOCK":
			blocks = n
		case "FSBLOCKSIZE":
			blockSize = n
		}
	}
	p.size = max(parts, 0)
	if p.size == 0 && blocks > 0 && blockSize > 0 && blocks < 1<<50/blockSize {
		p.size = blocks * blockSize
	}
	return p
}

func unescapeShell(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		if s[i+1] == 'x' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+2:i+4], 16, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		i++
		b.WriteByte(s[i])
	}
	return strings.ToValidUTF8(b.String(), "\uFFFD")
}

// parent is the disk that a partition lies on: /dev/sdb of /dev/sdb1, /dev/nvme0n1 of /dev/nvme0n1p2; a whole disk is its own.
func parent(device string) string {
	base := strings.TrimRight(device, "0123456789")
	if base == device || base == "" {
		return device
	}
	if whole, ok := strings.CutSuffix(base, "p"); ok && whole != "" && whole[len(whole)-1] >= '0' && whole[len(whole)-1] <= '9' {
		return whole
	}
	if strings.HasPrefix(base, "/dev/sd") || strings.HasPrefix(base, "/dev/vd") || strings.HasPrefix(base, "/dev/hd") || strings.HasPrefix(base, "/dev/xvd") {
		return base
	}
	return device
}
