package bpf

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/snapline/snapline"
)

// port is a NIC and the index of the tap that carries its frames.
type port struct {
	nic   snapline.NIC
	index int
}

// findPorts looks up the taps of the NICs in the current network namespace. The
// error names every NIC that cannot have a gate.
func findPorts(nics []snapline.NIC) ([]port, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	defer h.Close()

	var ports []port
	var reasons []snapline.Reason
	owner := make(map[int]string)
	for _, nic := range nics {
		index, why := findTap(h, nic)
		if other, taken := owner[index]; why == nil && taken {
			why = &snapline.Reason{Text: fmt.Sprintf("NIC %s has the same tap %s as NIC %s", nic.ID, nic.Tap, other)}
		}
		if why != nil {
			reasons = append(reasons, *why)
			continue
		}
		owner[index] = nic.ID
		ports = append(ports, port{nic: nic, index: index})
	}
	if len(reasons) > 0 {
		return nil, &snapline.Error{Code: snapline.CodeRefused, Message: "no gate can cover the virtual machine", Reasons: reasons}
	}
	return ports, nil
}

func findTap(h *netlink.Handle, nic snapline.NIC) (int, *snapline.Reason) {
	if nic.Tap == "" {
		return 0, &snapline.Reason{
			Text: fmt.Sprintf("NIC %s has no tap, its back end is %q", nic.ID, nic.Backend),
			Hint: "give the virtual machine a tap (-netdev tap,...) that is a port of a bridge",
		}
	}
	l, err := h.LinkByName(nic.Tap)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return 0, &snapline.Reason{
			Text: fmt.Sprintf("NIC %s: there is no interface %s in the agent's network namespace", nic.ID, nic.Tap),
			Hint: "run the agent in the network namespace that holds the virtual machine's taps",
		}
	}
	if err != nil {
		return 0, &snapline.Reason{Text: fmt.Sprintf("NIC %s: look up interface %s: %v", nic.ID, nic.Tap, err)}
	}
	return l.Attrs().Index, nil
}
