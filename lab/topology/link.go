package topology

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// uplink is the host's end of its cable to the switch.
const uplink = "up0"

// The functions of this file run inside a namespace (Namespace.Do).

// quiet brings the loopback up and takes away what the kernel does by itself
// that a lab does not want.
func quiet(ipv6 bool) error {
	settings := map[string]string{
		// Bridged frames must not visit iptables, which the machine's own
		// setting would otherwise decide for new namespaces too.
		"/proc/sys/net/bridge/bridge-nf-call-iptables":  "0",
		"/proc/sys/net/bridge/bridge-nf-call-ip6tables": "0",
		"/proc/sys/net/bridge/bridge-nf-call-arptables": "0",
	}
	if !ipv6 {
		settings["/proc/sys/net/ipv6/conf/all/disable_ipv6"] = "1"
		settings["/proc/sys/net/ipv6/conf/default/disable_ipv6"] = "1"
	}
	for path, value := range settings {
		// A kernel without the feature has no file for it, and nothing to set.
		if err := os.WriteFile(path, []byte(value), 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return up("lo")
}

// bridge makes the namespace's bridge with an address. Ports forward at once:
// there is no loop here that spanning tree would have to find.
func bridge(address string) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = Bridge
	if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil {
		return fmt.Errorf("make bridge %s: %w", Bridge, err)
	}
	link, err := netlink.LinkByName(Bridge)
	if err != nil {
		return err
	}
	addr, err := netlink.ParseAddr(fmt.Sprintf("%s/%d", address, PrefixLen))
	if err != nil {
		return err
	}
	if err := netlink.AddrAdd(link, addr); err != nil {
		return fmt.Errorf("give %s address %s: %w", Bridge, address, err)
	}
	return up(Bridge)
}

// cable connects a new port of this namespace's bridge with the uplink of a
// host's namespace.
func cable(port string, host Namespace) error {
	h, err := netns.GetFromPath(host.Path())
	if err != nil {
		return err
	}
	defer h.Close()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = port
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: uplink, PeerNamespace: netlink.NsFd(h)}
	if err := netlink.LinkAdd(veth); err != nil {
		return fmt.Errorf("make cable %s: %w", port, err)
	}
	return attach(port)
}

// attach makes an interface a port of the namespace's bridge.
func attach(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("attach %s: %w", name, err)
	}
	br, err := netlink.LinkByName(Bridge)
	if err != nil {
		return fmt.Errorf("attach %s: %w", name, err)
	}
	if err := netlink.LinkSetMaster(link, br); err != nil {
		return fmt.Errorf("attach %s: %w", name, err)
	}
	return up(name)
}

func up(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("bring up %s: %w", name, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("bring up %s: %w", name, err)
	}
	return nil
}

func down(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("take down %s: %w", name, err)
	}
	if err := netlink.LinkSetDown(link); err != nil {
		return fmt.Errorf("take down %s: %w", name, err)
	}
	return nil
}
