package qemu

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/qemu/cmdline"
	"github.com/snapline/snapline/qemu/qmp"
)

// describeNICs lists the guest's network interfaces by their back ends. It asks
// the human monitor, which alone knows what -netdev, -nic, -net and hot-plug
// have led to.
func describeNICs(ctx context.Context, ns namespace, c *qmp.Client, p *process) ([]snapline.NIC, error) {
	text, err := qmp.Run(ctx, c, qmp.HMP{Line: "info network"})
	if err != nil {
		return nil, err
	}
	held, err := p.taps()
	if err != nil {
		return nil, err
	}
	nics := assignTaps(parseNetwork(text), held)
	for i := range nics {
		if nics[i].Tap != "" {
			nics[i].Reader = p.pid
		}
	}
	return nics, findBridges(ns, nics)
}

// netClient is one end of QEMU's internal network, as "info network" shows it:
// "n0: index=0,type=tap,ifname=tap0,script=no,downscript=no".
type netClient struct {
	id, kind string
	params   cmdline.Params
}

// link joins a guest's NIC to one back end.
type link struct{ nic, backend netClient }

var (
	clientRE = regexp.MustCompile(`^(?: \\ (?:\S+: )??)?(\S+): index=\d+,type=([^,]+)(?:,(.*))?$`)
	hubRE    = regexp.MustCompile(`^hub \d+$`)
)

// parseNetwork reads the output of "info network": a NIC stands at the margin
// with its peer indented below, a hub's ports are all indented below the hub.
func parseNetwork(text string) []link {
	var links []link
	var block []netClient
	finish := func() {
		for _, nic := range block {
			for _, other := range block {
				if nic.kind == "nic" && other.kind != "nic" {
					links = append(links, link{nic, other})
				}
			}
		}
		block = nil
	}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if hubRE.MatchString(line) || !strings.HasPrefix(line, " ") {
			finish()
		}
		if m := clientRE.FindStringSubmatch(line); m != nil {
			block = append(block, netClient{m[1], m[2], cmdline.ParseParams(m[3])})
		}
	}
	finish()
	return links
}

// assignTaps finds each back end's tap: by its name, by its descriptor, and
// what is left by elimination when only one way is left. A tap that cannot be
// told stays empty, for the gate to refuse.
func assignTaps(links []link, held map[int]string) []snapline.NIC {
	var nics []snapline.NIC
	taken := map[string]bool{}
	for _, l := range links {
		n := snapline.NIC{ID: l.backend.id, MAC: l.nic.params.Get("macaddr"), Backend: l.backend.kind}
		if slices.ContainsFunc(nics, func(o snapline.NIC) bool { return o.ID == n.ID }) {
			continue // a further queue, or a further NIC on the same hub
		}
		if l.backend.kind == "tap" {
			n.Tap = l.backend.params.Get("ifname")
			if fd, err := strconv.Atoi(l.backend.params.Get("fd")); err == nil && n.Tap == "" {
				n.Tap = held[fd]
			}
		}
		taken[n.Tap] = true
		nics = append(nics, n)
	}
	var spare []string
	for _, tap := range held {
		if !taken[tap] && !slices.Contains(spare, tap) {
			spare = append(spare, tap)
		}
	}
	unknown := func(n snapline.NIC) bool { return n.Backend == "tap" && n.Tap == "" }
	if i := slices.IndexFunc(nics, unknown); i >= 0 && len(spare) == 1 && !slices.ContainsFunc(nics[i+1:], unknown) {
		nics[i].Tap = spare[0]
	}
	return nics
}

// findBridges fills in which bridge each tap is a port of.
func findBridges(ns namespace, nics []snapline.NIC) error {
	if !slices.ContainsFunc(nics, func(n snapline.NIC) bool { return n.Tap != "" }) {
		return nil
	}
	h, err := ns.netlink()
	if err != nil {
		return err
	}
	defer h.Close()
	for i := range nics {
		if nics[i].Tap == "" {
			continue
		}
		tap, err := h.LinkByName(nics[i].Tap)
		if err != nil {
			return fmt.Errorf("tap %s: %w", nics[i].Tap, err)
		}
		if tap.Attrs().MasterIndex == 0 {
			continue
		}
		master, err := h.LinkByIndex(tap.Attrs().MasterIndex)
		if err != nil {
			return fmt.Errorf("bridge of tap %s: %w", nics[i].Tap, err)
		}
		if master.Type() == "bridge" {
			nics[i].Bridge = master.Attrs().Name
		}
	}
	return nil
}
