package schema

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim/notation"
	"github.com/felhom/felhom-agent/proxmox/pvesim/retention"
)

var (
	configIDRE = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]+$`)
	dnsNameRE  = regexp.MustCompile(`^([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?\.)*[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?$`)
	// StorageRE is the name of a storage.
	StorageRE  = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._-]*[A-Za-z0-9]$`)
	tagRE      = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_+.-]*$`)
	volumeIDRE = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9._-]*[A-Za-z0-9]):(.+)$`)
	macRE      = regexp.MustCompile(`^[0-9A-Fa-f][02468ACEace](:[0-9A-Fa-f]{2}){5}$`)
	// NewDiskRE asks for a new volume: STORAGE:SIZE in GiB.
	NewDiskRE  = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9._-]*[A-Za-z0-9]):(\d+(\.\d+)?)$`)
	startupRE  = regexp.MustCompile(`^(order=)?\d+$|^(up|down)=\d+$`)
	diskSizeRE = regexp.MustCompile(`^\d+(\.\d+)?[KMGT]?$`)
)

// nodeName reports whether a value is one label of letters, digits and, within, hyphens.
func nodeName(v string) bool {
	for i := range len(v) {
		ch := v[i]
		letter := ch >= 'a' && ch <= 'z' || ch >= 'A' && ch <= 'Z' || ch >= '0' && ch <= '9'
		if !letter && (ch != '-' || i == 0 || i == len(v)-1) {
			return false
		}
	}
	return v != ""
}

// formats are the named formats that say why they refuse a value.
var formats = map[string]func(string) error{
	"vmid":          vmID,
	"vmid-list":     each(vmID),
	"configid":      configID,
	"configid-list": each(configID),
	"dns-name":      dnsName,
	"dns-name-list": each(dnsName),
	"node": func(v string) error {
		if !nodeName(v) {
			return errors.New("value does not look like a valid node name")
		}
		return nil
	},
	"storage": func(v string) error {
		if !StorageRE.MatchString(v) {
			return fmt.Errorf("storage ID '%s' contains illegal characters", v)
		}
		return nil
	},
	"content": func(v string) error {
		switch v {
		case "images", "rootdir", "vztmpl", "iso", "backup", "snippets", "import", "none":
			return nil
		}
		return fmt.Errorf("invalid content type '%s'", v)
	},
	"poolid": func(v string) error { return nil },
	"volume-id": func(v string) error {
		if !volumeIDRE.MatchString(v) {
			return fmt.Errorf("unable to parse volume ID '%s'", v)
		}
		return nil
	},
	"tag-list": func(v string) error {
		for _, tag := range notation.SplitList(v) {
			if !tagRE.MatchString(tag) {
				return fmt.Errorf("invalid characters in tag")
			}
		}
		return nil
	},
	"startup": func(v string) error {
		for _, f := range strings.Split(v, ",") {
			if !startupRE.MatchString(f) {
				return errors.New("unable to parse startup options")
			}
		}
		return nil
	},
	"timezone": func(v string) error {
		if v == "host" || v == "UTC" {
			return nil
		}
		if _, err := time.LoadLocation(v); err != nil || v == "" || v == "Local" {
			return fmt.Errorf("invalid time zone '%s'", v)
		}
		return nil
	},
	"nameservers": func(v string) error {
		for _, a := range notation.SplitList(v) {
			addr, _, _ := strings.Cut(a, "%")
			if _, err := netip.ParseAddr(addr); err != nil && a != "host" {
				return errors.New("value does not look like a valid IP address")
			}
		}
		return nil
	},
	"ipv4": func(v string) error {
		if a, err := netip.ParseAddr(v); err != nil || !a.Is4() {
			return errors.New("value does not look like a valid IPv4 address")
		}
		return nil
	},
	"ipv6": func(v string) error {
		if a, err := netip.ParseAddr(v); err != nil || !a.Is6() {
			return errors.New("value does not look like a valid IPv6 address")
		}
		return nil
	},
	"ipv4-config": func(v string) error {
		if v == "dhcp" || v == "manual" {
			return nil
		}
		if p, err := netip.ParsePrefix(v); err != nil || !p.Addr().Is4() {
			return errors.New("value does not look like a valid ipv4 network configuration")
		}
		return nil
	},
	"ipv6-config": func(v string) error {
		if v == "auto" || v == "dhcp" || v == "manual" {
			return nil
		}
		if p, err := netip.ParsePrefix(v); err != nil || !p.Addr().Is6() {
			return errors.New("value does not look like a valid ipv6 network configuration")
		}
		return nil
	},
	"mac": func(v string) error {
		if !macRE.MatchString(v) {
			return errors.New("value does not look like a valid unicast MAC address")
		}
		return nil
	},
	"disk-size": func(v string) error {
		if !diskSizeRE.MatchString(v) {
			return errors.New("value does not look like a valid disk size")
		}
		return nil
	},
	"mp": func(v string) error {
		if v == "" || !strings.HasPrefix(v, "/") || strings.Contains(v, "/../") || strings.HasSuffix(v, "/..") || strings.Contains(v, "/./") {
			return errors.New("invalid mount point path")
		}
		return nil
	},
	"mp-volume": func(v string) error {
		if strings.HasPrefix(v, "/") && (strings.Contains(v, "/../") || strings.HasSuffix(v, "/..") || strings.Contains(v, "/./")) {
			return errors.New("invalid mount point path")
		}
		return nil
	},
	"dev": func(v string) error {
		if !strings.HasPrefix(v, "/dev/") || strings.Contains(v, "/../") {
			return errors.New("device path must start with /dev")
		}
		return nil
	},
	"task-status": each(func(v string) error {
		switch strings.ToLower(v) {
		case "ok", "error", "warning", "unknown":
			return nil
		}
		return fmt.Errorf("invalid status '%s'", v)
	}),
	"prune": func(v string) error {
		_, err := retention.Parse(v)
		return err
	},
}

func init() { buildSchemas() }

func vmID(v string) error {
	if n, err := strconv.Atoi(v); err != nil || n < 100 || n > 999999999 {
		return errors.New("value does not look like a valid VM ID")
	}
	return nil
}

func configID(v string) error {
	if !configIDRE.MatchString(v) {
		return fmt.Errorf("invalid configuration ID '%s'", v)
	}
	return nil
}

func dnsName(v string) error {
	if !dnsNameRE.MatchString(v) {
		return errors.New("value does not look like a valid DNS name")
	}
	return nil
}

func each(one func(string) error) func(string) error {
	return func(v string) error {
		for _, item := range notation.SplitList(v) {
			if err := one(item); err != nil {
				return err
			}
		}
		return nil
	}
}
