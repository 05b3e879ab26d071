package bpf

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/snapline/snapline"
)

func TestCloseLeavesNothing(t *testing.T) {
	for _, mode := range []Mode{TCX, Clsact} {
		t.Run(string(mode), func(t *testing.T) {
			h := newHost(t)
			a := h.addVM(t, 1)
			open := func() *Gate { return h.open(t, mode, a.nic) }
			open().Close() // whatever is opened once for all
			files := openFiles(t)
			for range 10 {
				g := open()
				if n, f, _ := h.attached(t, a.nic.Tap); n+f == 0 {
					t.Fatal("nothing is attached")
				}
				if err := g.Close(); err != nil {
					t.Fatal(err)
				}
				if err := g.Close(); err != nil {
					t.Fatalf("second close: %v", err)
				}
			}
			if n, f, q := h.attached(t, a.nic.Tap); n+f > 0 || q {
				t.Errorf("left on the tap: %d programs, %d filters, clsact %v", n, f, q)
			}
			if after := openFiles(t); after != files {
				t.Errorf("%d open files, %d before", after, files)
			}
		})
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

func TestClosedGate(t *testing.T) {
	h := newHost(t)
	a := h.addVM(t, 1)
	g := h.open(t, TCX, a.nic)
	g.Close()
	_, counters := g.Counters()
	_, probes := g.Probes(1)
	for name, err := range map[string]error{
		"Set": g.Set(snapline.GateRules{}), "Counters": counters, "Probes": probes,
		"Probe": g.Probe(context.Background(), 1, 1, nil),
	} {
		if !errors.Is(err, os.ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTapGoneBeforeClose(t *testing.T) {
	for _, mode := range []Mode{TCX, Clsact} {
		t.Run(string(mode), func(t *testing.T) {
			h := newHost(t)
			tap := h.addTap(t, "tap9")
			g := h.open(t, mode, snapline.NIC{ID: "net0", Tap: "tap9"})
			tap.Close() // as QEMU does when it is killed
			if err := g.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestAllOrNothing has a NIC that no gate can cover beside one that it can.
func TestAllOrNothing(t *testing.T) {
	for _, mode := range []Mode{TCX, Clsact} {
		t.Run(string(mode), func(t *testing.T) {
			h := newHost(t)
			good := h.addVM(t, 1).nic
			user := snapline.NIC{ID: "net1", Backend: "user"}
			missing := snapline.NIC{ID: "net2", Tap: "nowhere", Backend: "tap"}
			twice := good
			twice.ID = "net3"
			_, err := h.gates(t, mode).Open(context.Background(), []snapline.NIC{good, user, missing, twice}, snapline.PostCodepoint)
			var refused *snapline.Error
			if !errors.As(err, &refused) || refused.Code != snapline.CodeRefused || len(refused.Reasons) != 3 {
				t.Fatalf("error %v", err)
			}
			for i, want := range []string{`net1 has no tap, its back end is "user"`, "net2: there is no interface nowhere", "net3 has the same tap tap1 as NIC net0"} {
				if !strings.Contains(refused.Reasons[i].Text, want) {
					t.Errorf("reason %d: %s", i, refused.Reasons[i].Text)
				}
			}
			if n, f, q := h.attached(t, good.Tap); n+f > 0 || q {
				t.Errorf("left on the good tap: %d programs, %d filters, clsact %v", n, f, q)
			}
		})
	}
}

// TestRollback has a second tap whose place is taken only found out on attaching.
func TestRollback(t *testing.T) {
	h := newHost(t)
	a, b := h.addVM(t, 1).nic, h.addVM(t, 2).nic
	b.ID = "net1"
	first := h.open(t, Clsact, b)
	_, err := h.gates(t, Clsact).Open(context.Background(), []snapline.NIC{a, b}, snapline.PostCodepoint)
	if !errors.Is(err, unix.EEXIST) || !strings.Contains(err.Error(), "NIC net1 (tap2)") {
		t.Fatalf("error %v", err)
	}
	if n, f, q := h.attached(t, a.Tap); n+f > 0 || q {
		t.Errorf("left on %s: %d programs, %d filters, clsact %v", a.Tap, n, f, q)
	}
	if _, f, q := h.attached(t, b.Tap); f == 0 || !q {
		t.Errorf("the gate that was there first has lost its filters")
	}
	first.Close()
}

func TestTwoNICs(t *testing.T) {
	h := newHost(t)
	a, b := h.addTap(t, "left"), h.addTap(t, "right")
	g := h.open(t, TCX, snapline.NIC{ID: "net0", Tap: "left"}, snapline.NIC{ID: "net1", Tap: "right"})
	set(t, g, time.Hour, 0)
	frame := costFrame(0)
	a.send(t, frame, 0)
	b.send(t, frame, 0)
	eventually(t, "both marks", func() bool { return counters(t, g).Marked == 2 })
	eventually(t, "both leaks", func() bool { return counters(t, g).Leaked == 2 })
}

func TestOpenRefuses(t *testing.T) {
	h := newHost(t)
	nic := h.addVM(t, 1).nic
	for _, post := range []snapline.Codepoint{0, 64} {
		if _, err := h.gates(t, TCX).Open(context.Background(), []snapline.NIC{nic}, post); err == nil {
			t.Errorf("codepoint %d was accepted", post)
		}
	}
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := h.gates(t, TCX).Open(cancelled, []snapline.NIC{nic}, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if _, err := New(Options{NetNS: "/run/netns/nowhere"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

// TestFirstInLine opens a gate where a program that accepts everything, and so
// ends the line, is attached already.
func TestFirstInLine(t *testing.T) {
	h := newHost(t)
	left, right := h.addTap(t, "left"), h.addTap(t, "right")
	accept, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.SchedCLS, License: "MIT",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer accept.Close()
	h.netlink(t, func(n *netlink.Handle) error {
		l, err := n.LinkByName("left")
		if err != nil {
			return err
		}
		for _, at := range []ebpf.AttachType{ebpf.AttachTCXIngress, ebpf.AttachTCXEgress} {
			tie, err := link.AttachTCX(link.TCXOptions{Interface: l.Attrs().Index, Program: accept, Attach: at})
			if err != nil {
				return err
			}
			t.Cleanup(func() { tie.Close() })
		}
		return nil
	})
	g := h.open(t, TCX, snapline.NIC{ID: "net0", Tap: "left"})
	set(t, g, time.Hour, time.Hour)
	left.send(t, costFrame(0), 0)
	if f := right.receive(t, 5*time.Second); f == nil || f[15] != byte(snapline.PostCodepoint)<<2 {
		t.Errorf("arrived: %.40x", f)
	}
	right.send(t, costFrame(snapline.PostCodepoint), 0)
	eventually(t, "withholding", func() bool { return counters(t, g).Withheld == 1 })
}

// TestConcurrentUse is for the race detector.
func TestConcurrentUse(t *testing.T) {
	h := newHost(t)
	a := h.addVM(t, 1)
	g := h.open(t, TCX, a.nic)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 100 {
				err := g.Set(snapline.GateRules{MarkUntil: 1})
				_, err2 := g.Counters()
				_, err3 := g.Probes(1)
				err4 := g.Probe(context.Background(), 1, 1, []string{a.nic.MAC})
				for _, err := range []error{err, err2, err3, err4} {
					if err != nil && !errors.Is(err, os.ErrClosed) {
						t.Error(err)
					}
				}
			}
		})
	}
	all.Go(func() { g.Close() })
	all.Wait()
}
