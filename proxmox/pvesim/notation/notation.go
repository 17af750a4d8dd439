// Package notation reads and writes numbers, sizes and lists as PVE's Perl does: what is no number
// is 0, a list splits at commas, semicolons and spaces. It is pure and knows nothing of the
// simulator.
package notation

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Atoi is a decimal number; 0 for any other text.
func Atoi(s string) int {
	n := 0
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0
		}
		n = n*10 + int(s[i]-'0')
	}
	return n
}

// SplitList splits a PVE list: at commas, semicolons, blanks and NULs. PVE: split_list.
func SplitList(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool {
		return r == ',' || r == ';' || r == ' ' || r == '\t' || r == 0 || r == '\n'
	})
}

// PlainSizeRE is a size without a unit.
var PlainSizeRE = regexp.MustCompile(`^\d+(\.\d+)?$`)

// HumanSize prints an archive's size as vzdump logs it. PVE: VZDump format_size.
func HumanSize(n int64) string {
	switch kb := n / 1024; {
	case kb < 1024:
		return fmt.Sprintf("%dKB", kb)
	case kb < 1024*1024:
		return fmt.Sprintf("%dMB", kb/1024)
	}
	return fmt.Sprintf("%.2fGB", float64(n)/(1<<30))
}

// Binary prints a size as tar does.
func Binary(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	f, i := float64(n), 0
	for i < len(units)-1 && f >= 1024 {
		f /= 1024
		i++
	}
	if f < 10 && i > 0 {
		return fmt.Sprintf("%.1f%s", f, units[i])
	}
	return fmt.Sprintf("%.0f%s", f, units[i])
}

// IsInteger reports whether a text is an integer.
func IsInteger(v string) bool {
	v = strings.TrimPrefix(v, "-")
	v = strings.TrimPrefix(v, "+")
	if v == "" || len(v) > 18 {
		return false
	}
	for i := 0; i < len(v); i++ {
		if v[i] < '0' || v[i] > '9' {
			return false
		}
	}
	return true
}

var numberRE = regexp.MustCompile(`^[+-]?(\d+(\.\d*)?|\.\d+)$`)

// IsNumber reports whether a text is a decimal number.
func IsNumber(v string) bool { return numberRE.MatchString(v) }

// Without is a list but for one value.
func Without[T comparable](list []T, v T) []T {
	var out []T
	for _, x := range list {
		if x != v {
			out = append(out, x)
		}
	}
	return out
}

// ParseSize reads sizes as PVE's disk-size: bytes, or K, M, G, T with decimals.
func ParseSize(v string) int64 {
	if v == "" {
		return 0
	}
	unit := int64(1)
	switch v[len(v)-1] {
	case 'K':
		unit = 1 << 10
	case 'M':
		unit = 1 << 20
	case 'G':
		unit = 1 << 30
	case 'T':
		unit = 1 << 40
	}
	num := strings.TrimRight(v, "KMGT")
	f, err := strconv.ParseFloat(num, 64)
	if err != nil {
		return 0
	}
	return int64(f * float64(unit))
}

// FormatSize prints in the largest unit that divides; nothing is 0T. PVE: format_size.
func FormatSize(n int64) string {
	if n == 0 {
		return "0T"
	}
	units := []string{"", "K", "M", "G", "T"}
	i := 0
	for i < len(units)-1 && n%1024 == 0 {
		n /= 1024
		i++
	}
	return strconv.FormatInt(n, 10) + units[i]
}
