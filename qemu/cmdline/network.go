package cmdline

import (
	"strconv"
	"strings"
)

// Backend is the network back end that one option defines.
type Backend struct {
	// Option is the index of the defining option.
	Option int
	// ID is the netdev's id; empty where QEMU invents one.
	ID string
	// Type is tap, bridge, user, …
	Type string
	// Params is the whole argument.
	Params Params
}

// Backends lists the network back ends in the order of the command line.
func Backends(opts []Option) []Backend {
	var all []Backend
	for i, o := range opts {
		if o.Name != "netdev" && o.Name != "nic" && o.Name != "net" {
			continue
		}
		p := ParseParams(o.Value)
		b := Backend{Option: i, Type: p.Implied("type"), ID: p.Get("id"), Params: p}
		if o.Name == "net" && b.ID == "" {
			b.ID = p.Get("name") // before QEMU 5.2
		}
		if b.Type == "none" || o.Name == "net" && b.Type == "nic" {
			continue
		}
		all = append(all, b)
	}
	return all
}

// UsesTap reports whether the back end ends in a tap, its own or one that
// QEMU's bridge helper makes.
func (b Backend) UsesTap() bool { return b.Type == "tap" || b.Type == "bridge" }

// tapOnly are the parameters that name or make a tap: a tap that is handed
// over as a descriptor comes without them (QEMU refuses the mixture).
var tapOnly = []string{
	"fd", "fds", "ifname", "script", "downscript", "br", "helper", "queues",
	"vhostfd", "vhostfds", "vnet_hdr",
}

// onDescriptor returns the argument of the same back end on the tap that is
// the new process's descriptor fds (colon-separated for several queues).
func (b Backend) onDescriptor(fds string, multiple bool) string {
	p := b.Params.WithImplied("type", "tap").Without(tapOnly...)
	if multiple {
		return p.With("fds", fds).String()
	}
	return p.With("fd", fds).String()
}

// Queues is the number of queues that the tap must have.
func (b Backend) Queues() int {
	if fds := b.Params.Get("fds"); fds != "" {
		return strings.Count(fds, ":") + 1
	}
	if n, err := strconv.Atoi(b.Params.Get("queues")); err == nil && n > 1 {
		return n
	}
	return 1
}

// Header reports whether the tap carries a virtio-net header before each
// frame. QEMU's default is yes; the guest's driver may count on it.
func (b Backend) Header() bool { return b.Params.Get("vnet_hdr") != "off" }
