package cmdline

import "strings"

// defaultMACs is how the addresses begin that QEMU gives to NICs without one.
const defaultMACs = "52:54:00:12:34:"

// HasMAC reports whether the command line makes a NIC with the address. One that
// names no address at all may have any of QEMU's own.
func HasMAC(opts []Option, mac string) bool {
	named := false
	for _, o := range opts {
		if o.Name != "device" && o.Name != "nic" && o.Name != "net" {
			continue
		}
		p := ParseParams(o.Value)
		for _, key := range []string{"mac", "macaddr"} {
			if a := p.Get(key); a != "" {
				named = true
				if strings.EqualFold(a, mac) {
					return true
				}
			}
		}
	}
	return !named && strings.HasPrefix(strings.ToLower(mac), defaultMACs)
}
