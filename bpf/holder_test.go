package bpf

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/snapline/snapline"
)

// holderEnv makes this test's program an agent that opens a gate and waits to
// be killed: "mode tap namespace".
const holderEnv = "SNAPLINE_TEST_GATE_HOLDER"

func holdGate() {
	var mode Mode
	var tap, ns string
	if _, err := fmt.Sscan(os.Getenv(holderEnv), &mode, &tap, &ns); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	g, err := New(Options{NetNS: ns, ForceClsact: mode == Clsact})
	if err == nil {
		_, err = g.Open(context.Background(), []snapline.NIC{{ID: "net0", Tap: tap}}, snapline.PostCodepoint)
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("open")
	io.Copy(io.Discard, os.Stdin) // until the test is gone, at the latest
	os.Exit(0)
}

// openAndDie opens a gate in a process of its own and kills that.
func (h *host) openAndDie(t *testing.T, mode Mode, tap string) {
	t.Helper()
	c := exec.Command("/proc/self/exe")
	c.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %s", holderEnv, mode, tap, h.namespace))
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	c.Process.Kill()
	c.Wait()
	if line != "open\n" {
		t.Fatalf("agent said %q, %v", line, err)
	}
}

// TestAgentKilledTCX: the programs go with the process.
func TestAgentKilledTCX(t *testing.T) {
	h := newHost(t)
	tap := h.addVM(t, 1).nic.Tap
	h.openAndDie(t, TCX, tap)
	eventually(t, "detaching", func() bool {
		n, f, q := h.attached(t, tap)
		return n == 0 && f == 0 && !q
	})
}

// TestReconcile: filters stay, and the next life removes them, but nothing of
// anybody else's.
func TestReconcile(t *testing.T) {
	h := newHost(t)
	ours := h.addVM(t, 1).nic.Tap    // nobody else is here
	late := h.addVM(t, 2).nic.Tap    // somebody adds a filter to our qdisc
	shared := h.addVM(t, 3).nic.Tap  // somebody's qdisc and filter were here first
	foreign := h.addVM(t, 4).nic.Tap // somebody's empty qdisc
	h.foreignQdisc(t, shared)
	h.foreignFilter(t, shared)
	h.foreignQdisc(t, foreign)
	for _, tap := range []string{ours, late, shared} {
		h.openAndDie(t, Clsact, tap)
	}
	h.foreignFilter(t, late)
	if _, f, q := h.attached(t, ours); f == 0 || !q {
		t.Fatal("clsact filters went with their process: there is nothing to reconcile")
	}
	for range 2 { // the second time there is nothing to do
		if err := h.gates(t, Clsact).Reconcile(context.Background()); err != nil {
			t.Fatal(err)
		}
		for _, want := range []struct {
			tap     string
			filters int
			qdisc   bool
		}{{ours, 0, false}, {late, 1, true}, {shared, 1, true}, {foreign, 0, true}} {
			_, filters, qdisc := h.attached(t, want.tap)
			if h.bpfFilters(t, want.tap) != want.filters || qdisc != want.qdisc {
				t.Errorf("%s: %d filters, clsact %v, want %+v", want.tap, filters, qdisc, want)
			}
		}
	}
	// A new gate finds everything in order, and leaves it so.
	g := h.open(t, Clsact, snapline.NIC{ID: "net0", Tap: shared})
	g.Close()
	if n := h.bpfFilters(t, shared); n != 1 {
		t.Errorf("%d filters after closing beside a foreign one", n)
	}
}

func (h *host) foreignQdisc(t *testing.T, name string) {
	t.Helper()
	h.netlink(t, func(n *netlink.Handle) error {
		l, err := n.LinkByName(name)
		if err != nil {
			return err
		}
		return n.QdiscAdd(clsactQdisc(l.Attrs().Index))
	})
}

// foreignFilter is like ours in all but handle and name.
func (h *host) foreignFilter(t *testing.T, name string) {
	t.Helper()
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.SchedCLS, License: "MIT",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	h.netlink(t, func(n *netlink.Handle) error {
		l, err := n.LinkByName(name)
		if err != nil {
			return err
		}
		return n.FilterAdd(&netlink.BpfFilter{
			FilterAttrs: netlink.FilterAttrs{
				LinkIndex: l.Attrs().Index, Parent: netlink.HANDLE_MIN_INGRESS,
				Handle: 1, Priority: filterPriority, Protocol: unix.ETH_P_ALL,
			},
			Fd: p.FD(), Name: "somebody's", DirectAction: true,
		})
	})
}

// bpfFilters counts filters without the kernel's entries for their priorities.
func (h *host) bpfFilters(t *testing.T, name string) (count int) {
	t.Helper()
	h.netlink(t, func(n *netlink.Handle) error {
		l, err := n.LinkByName(name)
		if err != nil {
			return err
		}
		all, err := clsactFilters(n, l.Attrs().Index)
		for _, f := range all {
			if f.Attrs().Handle != 0 {
				count++
			}
		}
		return err
	})
	return count
}
