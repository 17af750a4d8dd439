package pvesim

import (
	"fmt"
	"strings"
)

func (s *Sim) beginCreate(t *task) error {
	set := t.request()
	want, _, err := requested(set)
	if err != nil {
		return err
	}
	if len(want) == 0 {
		m, _ := parseMountPoint("rootfs", t.Args["storage"]+":4")
		want = []wanted{{mountPoint: m, storage: t.Args["storage"], size: 4 << 30}}
	}
	if err := s.allocate(t, want); err != nil {
		return err
	}
	v, p, err := s.volume(t.node, t.Args["archive"])
	if err == nil && v == nil {
		err = fmt.Errorf("volume '%s' does not exist", t.Args["archive"])
	}
	if err != nil {
		t.log("%s", err.Error())
		return err
	}
	_, name, _ := strings.Cut(t.Args["archive"], ":")
	t.log("extracting archive '%s'", p.st.file(name))
	t.Args["bytes"] = fmt.Sprint(v.Size * 3)
	return nil
}

func (s *Sim) endCreate(t *task, g *guest) error {
	set := t.request()
	bytes := int64(atoi(t.Args["bytes"]))
	t.log("Total bytes read: %d (%s, 80MiB/s)", bytes, binary(bytes))
	t.log("Detected container architecture: amd64")
	_, later, err := requested(set)
	if err != nil {
		return err
	}
	conf := newConfig()
	for k, v := range set {
		if kind := strings.TrimRight(k, "0123456789"); k == "rootfs" || kind == "mp" {
			continue
		}
		if k != "unprivileged" {
			if v, err = s.canonical(t.node, k, v); err != nil {
				return err
			}
		}
		conf.section.set(k, v)
	}
	system := "unmanaged"
	_, name, _ := strings.Cut(t.Args["archive"], ":")
	base := strings.TrimPrefix(name, "vztmpl/")
	if known, _, ok := strings.Cut(base, "-"); ok && configSchema.props["ostype"].check("", known) == "" {
		system = known
	}
	bare := false
	if v, _, _ := s.volume(t.node, t.Args["archive"]); v != nil {
		system, bare = orElse(v.OS, system), v.Bare
	}
	defaults(conf, t.vmid(), system)
	for _, m := range t.created() {
		conf.section.set(m.key, m.print())
		v, _, _ := s.volume(t.node, m.volid())
		if v == nil || t.Args["keep:"+m.key] != "" {
			continue
		}
		if m.key == "rootfs" {
			v.Data, v.Used, v.Bare = imprint("template", name)+"*", bytes, bare
		}
	}
	for k, v := range later {
		conf.section.set(k, v)
	}
	if system == "debian" || system == "ubuntu" {
		for _, key := range []string{"rsa", "ecdsa", "ed25519"} {
			t.log("Creating SSH host key 'ssh_host_%s_key' - this may take some time ...", key)
			t.log("done: SHA256:%s root@%s", imprint(name, key, t.ID), conf.vals["hostname"])
		}
	}
	g.conf = conf
	return s.writeRuntime(t.node, g)
}

// defaults fills in what PVE writes at the end of a creation.
func defaults(conf *config, vmid int, system string) {
	for k, v := range map[string]string{"hostname": "CT" + itoa(vmid), "memory": "512", "swap": "512", "arch": "amd64", "ostype": system} {
		if !conf.section.has(k) {
			conf.section.set(k, v)
		}
	}
}
