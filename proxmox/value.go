package proxmox

import (
	"fmt"
	"math"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// VMID is the number of a guest, unique in a cluster: 100 to 999999999.
type VMID int

var vmidForm = regexp.MustCompile(`^[1-9][0-9]{2,8}$`)

// ParseVMID reads a guest's number as PVE does: three to nine digits, no
// leading zero.
func ParseVMID(s string) (VMID, error) {
	if !vmidForm.MatchString(s) {
		return 0, fmt.Errorf("%q is not a VMID: write a number from 100 to 999999999", s)
	}
	n, _ := strconv.Atoi(s)
	return VMID(n), nil
}

func (v VMID) String() string { return strconv.Itoa(int(v)) }

// Size is an amount of bytes. PVE counts in powers of 1024 everywhere.
type Size int64

const (
	KiB Size = 1 << (10 * (iota + 1))
	MiB
	GiB
	TiB
)

var (
	sizeForm  = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?)(?:([KMGT])(?:iB)?)?$`)
	sizeUnits = map[string]Size{"": 1, "K": KiB, "M": MiB, "G": GiB, "T": TiB}
)

// ParseSize reads "8G", "512MiB", "1.5G" or a plain number of bytes. A part of
// a byte is cut off, as PVE does. Decimal units (GB) are refused because
// nobody can tell what was meant by them.
func ParseSize(s string) (Size, error) {
	if size, ok := wholeSize(s); ok {
		return size, nil
	}
	m := sizeForm.FindStringSubmatch(s)
	if m == nil {
		if u := strings.TrimSpace(s); strings.HasSuffix(u, "B") && !strings.HasSuffix(u, "iB") && len(u) > 1 {
			return 0, fmt.Errorf("invalid size %q, PVE counts in powers of 1024: expected GiB (or G) for GB", s)
		}
		return 0, fmt.Errorf("invalid size %q: expected for example 8G, 512MiB or 1.5G (units K, M, G, T, without a space)", s)
	}
	n, ok := new(big.Rat).SetString(m[1])
	if !ok {
		return 0, fmt.Errorf("invalid size %q: expected for example 8G or 512MiB", s)
	}
	n.Mul(n, new(big.Rat).SetInt64(int64(sizeUnits[m[2]])))
	bytes := new(big.Int).Quo(n.Num(), n.Denom())
	if !bytes.IsInt64() {
		return 0, fmt.Errorf("invalid size %q: the largest is %s", s, Size(math.MaxInt64).Human())
	}
	return Size(bytes.Int64()), nil
}

// wholeSize reads the usual form, a whole number and a letter, without the arithmetic that
// fractions need.
func wholeSize(s string) (Size, bool) {
	digits := strings.TrimRight(s, "KMGT")
	if digits == "" || len(digits) > 15 || len(s) > len(digits)+1 {
		return 0, false
	}
	var n Size
	for i := range len(digits) {
		if digits[i] < '0' || digits[i] > '9' {
			return 0, false
		}
		n = 10*n + Size(digits[i]-'0')
	}
	unit := sizeUnits[s[len(digits):]]
	if n > math.MaxInt64/unit {
		return 0, false
	}
	return n * unit, true
}

// String prints PVE's form of a disk size: the largest unit that divides it,
// so 8G, 1536M, and 0T for nothing (PVE: JSONSchema, format_size).
func (s Size) String() string {
	unit := ""
	for _, next := range []string{"K", "M", "G", "T"} {
		if s%1024 != 0 {
			break
		}
		s, unit = s/1024, next
	}
	return strconv.FormatInt(int64(s), 10) + unit
}

// MiB is the size in whole mebibytes, the unit of PVE's memory and swap; what
// is left over is cut off.
func (s Size) MiB() int64 { return int64(s / MiB) }

// Human prints the size for people: two digits that matter and a unit, such as
// "1.1 GiB" or "38 GiB".
func (s Size) Human() string {
	if s < 0 {
		return "-" + max(-s, 0).Human() // max: the smallest number has no opposite
	}
	names := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	f, unit := float64(s), 0
	for f >= 1023.5 && unit < len(names)-1 {
		f, unit = f/1024, unit+1
	}
	digits := 0
	if unit > 0 && f < 9.95 {
		digits = 1
	}
	return strings.TrimSuffix(strconv.FormatFloat(f, 'f', digits, 64), ".0") + " " + names[unit]
}

// ParseTags splits a tag list as PVE does and returns it in the form in which
// PVE stores it unless the datacenter's tag-style says otherwise: lower case,
// each once, sorted.
func ParseTags(s string) []string {
	tags := strings.FieldsFunc(strings.ToLower(s), func(r rune) bool {
		return r == ',' || r == ';' || r == ' ' || r == '\t' || r == '\n' || r == '\r' || r == 0
	})
	slices.Sort(tags)
	return slices.Compact(tags)
}

// FormatTags joins tags as PVE stores them.
func FormatTags(tags []string) string { return strings.Join(tags, ";") }

// CanonicalDescription is a description as it is compared: PVE returns every
// text with one trailing newline and loses empty lines at its end.
func CanonicalDescription(s string) string { return strings.TrimRight(s, "\n") }

var (
	snapshotForm = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]+$`)
	labelForm    = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?$`)
	tagForm      = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_+.-]*$`)
	macForm      = regexp.MustCompile(`^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}$`)
)

// CheckSnapshotName says what PVE would say against the name of a snapshot:
// a letter, then letters, digits, _ and -, 2 to 40 characters, and neither
// "current" nor "vzdump", which PVE keeps for itself.
func CheckSnapshotName(s string) error {
	switch {
	case s == "current" || s == "vzdump":
		return fmt.Errorf("PVE keeps the snapshot name %q for itself: choose another", s)
	case utf8.RuneCountInString(s) > 40:
		return fmt.Errorf("snapshot name %q has %d characters: PVE takes at most 40", s, utf8.RuneCountInString(s))
	case !snapshotForm.MatchString(s):
		return fmt.Errorf("invalid snapshot name %q: expected a letter, then at least one more of letters, digits, _ and -", s)
	}
	return nil
}

// CheckHostname says what PVE would say against a guest's hostname: a DNS name
// of at most 255 characters, hence without underscores.
func CheckHostname(s string) error {
	if n := utf8.RuneCountInString(s); n > 255 {
		return fmt.Errorf("hostname of %d characters: PVE takes at most 255", n)
	}
	for label := range strings.SplitSeq(s, ".") {
		if labelForm.MatchString(label) {
			continue
		}
		if strings.Contains(label, "_") {
			return fmt.Errorf("invalid hostname %q: a DNS name has no underscore, write - instead", s)
		}
		return fmt.Errorf("invalid hostname %q: expected letters, digits and inner dashes, parts joined by dots", s)
	}
	return nil
}

// CheckTag says what PVE would say against a tag.
func CheckTag(s string) error {
	if !tagForm.MatchString(s) {
		return fmt.Errorf("invalid tag %q: expected a letter, a digit or _, then these and - + . too", s)
	}
	return nil
}

// CheckStorageID says what PVE would say against the name of a storage.
func CheckStorageID(s string) error {
	letter := func(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
	digit := func(c byte) bool { return c >= '0' && c <= '9' }
	good := len(s) > 1 && letter(s[0]) && (letter(s[len(s)-1]) || digit(s[len(s)-1]))
	for i := range len(s) {
		good = good && (letter(s[i]) || digit(s[i]) || s[i] == '_' || s[i] == '.' || s[i] == '-')
	}
	if !good {
		return fmt.Errorf("invalid storage name %q: expected a letter first, a letter or digit last, and also - _ . in between", s)
	}
	return nil
}

// CheckMAC says what PVE would say against a hardware address: six bytes in
// hex with colons, and no multicast address.
func CheckMAC(s string) error {
	if !macForm.MatchString(s) {
		return fmt.Errorf("invalid hardware address %q: expected six bytes, for example BC:24:11:00:00:01", s)
	}
	if first, _ := strconv.ParseUint(s[:2], 16, 8); first&1 != 0 {
		return fmt.Errorf("%q is a multicast address: the first byte must be even, for example BC:24:11:00:00:01", s)
	}
	return nil
}
