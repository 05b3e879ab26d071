package bpf

import (
	"context"
	"encoding/hex"
	"maps"
	"net"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/bpf/rule"
)

func TestProbeFrameGolden(t *testing.T) {
	from, _ := net.ParseMAC("52:54:00:00:00:0a")
	to, _ := net.ParseMAC("52:54:00:00:00:0b")
	got := probeFrame(from, to, snapline.PostCodepoint, 0x1122334455667788, 0x01020304)
	want := "52540000000b" + "52540000000a" + "0800" +
		"45ac002e" + "00000000" + "01fd6428" + "a9fe0001" + "a9fe0002" +
		"736e61706c696e65" + "1122334455667788" + "01020304" + "000000000000"
	if hex.EncodeToString(got) != want {
		t.Fatalf("got  %x\nwant %s", got, want)
	}
	o := rule.Gate{Post: snapline.PostCodepoint}.ToVM(got, 1)
	if want := (rule.Probe{Nonce: 0x1122334455667788, Sender: 0x01020304, Seen: snapline.PostCodepoint}); o.Probe == nil || *o.Probe != want {
		t.Fatalf("the model reads %+v", o.Probe)
	}
}

// TestProbes sends probes between two hosts, and within one, over a clean
// network, one that bleaches, and none.
func TestProbes(t *testing.T) {
	const nonce = 0xfedcba9876543210
	h1, h2 := newHost(t), newHost(t)
	connect(t, h1, h2, "uplink")
	a, b, c := h1.addVM(t, 1), h2.addVM(t, 2), h2.addVM(t, 3)
	ga, gb, gc := h1.open(t, TCX, a.nic), h2.open(t, TCX, b.nic), h2.open(t, TCX, c.nic)
	everybody := []string{a.nic.MAC, b.nic.MAC, c.nic.MAC}
	probe := func(g snapline.Gate, nonce uint64, sender uint32) {
		t.Helper()
		if err := g.Probe(context.Background(), nonce, sender, everybody); err != nil {
			t.Fatal(err)
		}
	}
	// A bridge floods what is for addresses that it has not learnt, so a gate may
	// see more probes than were meant for it, its own too.
	arrives := func(g snapline.Gate, nonce uint64, want map[uint32]snapline.Codepoint) {
		t.Helper()
		var got map[uint32]snapline.Codepoint
		eventually(t, "the probes", func() bool {
			all, err := g.Probes(nonce)
			if err != nil {
				t.Fatal(err)
			}
			got = make(map[uint32]snapline.Codepoint)
			for sender := range want {
				if c, ok := all[sender]; ok {
					got[sender] = c
				}
			}
			return len(got) == len(want)
		})
		if !maps.Equal(got, want) {
			t.Errorf("probes %v, want %v", got, want)
		}
	}
	eventually(t, "forwarding on all ports of the new bridges", func() bool {
		probe(ga, 1, 1)
		seenB, err1 := gb.Probes(1)
		seenC, err2 := gc.Probes(1)
		return err1 == nil && err2 == nil && len(seenB) == 1 && len(seenC) == 1
	})
	before := b.capture(t)

	probe(ga, nonce, 1)
	probe(gb, nonce, 2)
	probe(gc, nonce, 3)
	const ok = snapline.PostCodepoint
	arrives(ga, nonce, map[uint32]snapline.Codepoint{2: ok, 3: ok})
	arrives(gb, nonce, map[uint32]snapline.Codepoint{1: ok, 3: ok})
	arrives(gc, nonce, map[uint32]snapline.Codepoint{1: ok, 2: ok})
	if got, _ := ga.Probes(nonce + 1); len(got) != 0 {
		t.Errorf("another nonce has probes %v", got)
	}

	// A hop that clears the field, as routers do at the edge of a site.
	h2.command(t, `table netdev bleach {
		chain in { type filter hook ingress device "uplink" priority 0; ip dscp set 0; }
	}`, "nft", "-f", "-")
	probe(ga, 7, 1)
	probe(gc, 7, 3)
	arrives(gb, 7, map[uint32]snapline.Codepoint{1: 0, 3: ok})
	// Over a path that bleaches now and then, the loss of the mark is remembered.
	h2.command(t, "", "nft", "delete", "table", "netdev", "bleach")
	probe(ga, 7, 1)
	arrives(gb, 7, map[uint32]snapline.Codepoint{1: 0, 3: ok})

	if got := before(); got.packets != 0 {
		t.Errorf("the VM saw %d TCP packets", got.packets)
	}
	for _, g := range []*Gate{ga, gb, gc} {
		if c := counters(t, g); c.Leaked+c.Withheld+c.NonIP != 0 {
			t.Errorf("probes were counted: %+v", c)
		}
	}
}

// TestProbesNeverReachTheVM reads the tap's other end itself.
func TestProbesNeverReachTheVM(t *testing.T) {
	h := newHost(t)
	left, right := h.addTap(t, "left"), h.addTap(t, "right")
	nic := snapline.NIC{ID: "net0", Tap: "left", Bridge: "br0", MAC: "52:54:00:00:00:01"}
	g := h.open(t, TCX, nic)
	// To an unknown address: the bridge floods it to both taps.
	if err := g.Probe(context.Background(), 5, 6, []string{"52:54:00:00:00:99"}); err != nil {
		t.Fatal(err)
	}
	if f := right.receive(t, 5e9); len(f) != probeLen {
		t.Errorf("without a gate arrives %x", f)
	}
	if f := left.receive(t, 0); f != nil {
		t.Errorf("behind the gate arrives %x", f)
	}
	if got, err := g.Probes(5); err != nil || len(got) != 1 {
		t.Errorf("probes %v, %v", got, err)
	}
}

func TestProbeRefuses(t *testing.T) {
	h := newHost(t)
	a := h.addVM(t, 1)
	lonely := a.nic
	lonely.Bridge = ""
	g := h.open(t, TCX, lonely)
	if err := g.Probe(context.Background(), 1, 1, []string{a.nic.MAC}); err == nil || !strings.Contains(err.Error(), "port of no bridge") {
		t.Errorf("no bridge: %v", err)
	}
	for _, target := range []string{"", "10.0.0.1", "02:00:5e:10:00:00:00:01"} {
		if err := g.Probe(context.Background(), 1, 1, []string{target}); err == nil {
			t.Errorf("target %q was accepted", target)
		}
	}
	g.Close()
	g = h.open(t, TCX, a.nic)
	h.netlink(t, func(n *netlink.Handle) error {
		br, err := n.LinkByName("br0")
		if err != nil {
			return err
		}
		return n.LinkSetDown(br)
	})
	if err := g.Probe(context.Background(), 1, 1, []string{a.nic.MAC}); err == nil || !strings.Contains(err.Error(), "br0") {
		t.Errorf("bridge down: %v", err)
	}
}
