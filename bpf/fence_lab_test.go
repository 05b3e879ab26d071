package bpf

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/fencetest"
)

// TestFences runs the suite on real taps.
func TestFences(t *testing.T) {
	for _, mode := range []Mode{TCX, Clsact} {
		t.Run(string(mode), func(t *testing.T) {
			fencetest.Test(t, func(t *testing.T) *fencetest.Site { return fenceSite(t, mode) })
		})
	}
}

// soon is how long a frame may take that is not to come: taps hand over frames
// before the sender's system call returns.
const soon = 20 * time.Millisecond

func fenceSite(t *testing.T, mode Mode) *fencetest.Site {
	h := newHost(t)
	taps := map[string]*tap{"left": h.addTap(t, "left"), "right": h.addTap(t, "right"), "outside": h.addTap(t, "outside")}
	t.Cleanup(func() {
		for _, name := range []string{"left", "right"} {
			if n, f, q := h.attached(t, name); n+f > 0 || q {
				t.Errorf("left on %s: %d programs, %d filters, clsact %v", name, n, f, q)
			}
		}
	})
	s := &fencetest.Site{
		Fences: h.gates(t, mode), Now: func() snapline.Instant { return bootTime(t) },
		NICs:    []snapline.NIC{{ID: "net0", Tap: "left", Backend: "tap"}, {ID: "net1", Tap: "right", Backend: "tap"}},
		Members: snapline.MemberAddresses{MACs: []string{"52:54:00:00:00:01"}},
	}
	number := byte(0)
	arrives := func(t *testing.T, at *tap, n byte) []byte {
		for { // frames of earlier packets, flooded by the bridge, may wait there
			f := at.receive(t, soon)
			if f == nil || f[len(f)-1] == n {
				return f
			}
		}
	}
	s.Out = func(t *testing.T, name string) (bool, bool) {
		number++
		f := costFrame(0)
		f[0], f[len(f)-1] = 0x5a, number // to nobody: flooded
		taps[name].send(t, f, 0)
		got := arrives(t, taps["outside"], number)
		return got != nil, got != nil && got[15]>>2 == byte(snapline.RestoredCodepoint)
	}
	s.Send = func(t *testing.T, name string, to netip.Addr) {
		f := costFrame(0)
		f[0] = 0x5a
		copy(f[30:34], to.AsSlice())
		taps[name].send(t, f, 0) // the programs have run when it returns
	}
	s.In = func(t *testing.T, name string, p fencetest.Packet) bool {
		number++
		f := costFrame(map[fencetest.Packet]snapline.Codepoint{fencetest.Restored: snapline.RestoredCodepoint}[p])
		f[len(f)-1] = number
		if p == fencetest.Stranger {
			f[11] = 0x77
		}
		h.inject(t, name, f)
		return arrives(t, taps[name], number) != nil
	}
	return s
}

// fenceHolderEnv makes this test's program an agent that raises a fence with a
// lease, or hushes its machine, and waits to be frozen or killed:
// "mode tap namespace nanoseconds hush".
const fenceHolderEnv = "SNAPLINE_TEST_FENCE_HOLDER"

func holdFence() {
	var mode Mode
	var tap, ns string
	var lease int64
	var hush bool
	if _, err := fmt.Sscan(os.Getenv(fenceHolderEnv), &mode, &tap, &ns, &lease, &hush); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	g, err := New(Options{NetNS: ns, ForceClsact: mode == Clsact})
	var f snapline.Fence
	if err == nil {
		f, err = g.Raise(context.Background(), snapline.FenceSpec{NICs: []snapline.NIC{{ID: "net0", Tap: tap}}, Restored: snapline.RestoredCodepoint})
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	renew := bufio.NewScanner(os.Stdin)
	for ok := true; ok; ok = renew.Scan() { // every line renews
		var now unix.Timespec
		err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now)
		rules := snapline.FenceRules{OpenUntil: snapline.Instant(now.Nano()).Add(time.Duration(lease))}
		if hush {
			rules = snapline.FenceRules{OpenUntil: snapline.Always, HushedUntil: rules.OpenUntil}
		}
		if err == nil {
			err = f.Set(rules)
		}
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("renewed")
	}
	os.Exit(0)
}

// fenceHolder is that agent.
type fenceHolder struct {
	*exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func (h *host) fenceHolder(t *testing.T, mode Mode, tap string, lease time.Duration, hush bool) *fenceHolder {
	t.Helper()
	c := exec.Command("/proc/self/exe")
	c.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %s %d %v", fenceHolderEnv, mode, tap, h.namespace, lease, hush))
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	a := &fenceHolder{c, in, bufio.NewReader(out)}
	t.Cleanup(func() {
		a.Process.Kill()
		a.Wait()
	})
	a.renewed(t)
	return a
}

func (a *fenceHolder) line(t *testing.T) string {
	t.Helper()
	line, err := a.out.ReadString('\n')
	if err != nil {
		t.Fatalf("the agent said %q, %v", line, err)
	}
	return line
}

func (a *fenceHolder) renewed(t *testing.T) {
	t.Helper()
	if line := a.line(t); line != "renewed\n" {
		t.Fatalf("the agent said %q", line)
	}
}

// TestLeaseRunsOut lets a lease run out while the agent is frozen, or dead: from
// the deadline on not one frame passes, of any kind, in either direction.
func TestLeaseRunsOut(t *testing.T) {
	const lease = 2 * time.Second
	for _, mode := range []Mode{TCX, Clsact} {
		for name, signal := range map[string]unix.Signal{"frozen": unix.SIGSTOP, "killed": unix.SIGKILL} {
			t.Run(string(mode)+"/"+name, func(t *testing.T) {
				t.Parallel()
				h := newHost(t)
				vm, outside := h.addTap(t, "vm"), h.addTap(t, "outside")
				agent := h.fenceHolder(t, mode, "vm", lease, false)
				for began := bootTime(t); bootTime(t).Sub(began) < lease*5/4; { // renewals keep it open
					fmt.Fprintln(agent.in)
					agent.renewed(t)
					h.passes(t, vm, outside)
				}
				if err := agent.Process.Signal(signal); err != nil {
					t.Fatal(err)
				}
				fences, err := h.gates(t, mode).Standing(context.Background())
				if err != nil || len(fences) != 1 {
					t.Fatalf("standing: %d, %v", len(fences), err)
				}
				defer fences[0].Close()
				rules, err := fences[0].Rules()
				if err != nil {
					t.Fatal(err)
				}
				sent, last := h.flood(t, vm, outside, rules.OpenUntil, rules.OpenUntil.Add(lease/4))
				if last > rules.OpenUntil {
					t.Errorf("a frame that was sent %v after the deadline passed", last.Sub(rules.OpenUntil))
				}
				if sent == 0 || last == 0 {
					t.Errorf("%d frames sent after the deadline, the last that passed at %d: nothing was tested", sent, last)
				}
				if c, err := fences[0].Counters(); err != nil || c.Shut == 0 {
					t.Errorf("counters %+v, %v", c, err)
				}
				// Unprotecting removes everything, whose ever it was.
				if err := fences[0].Lower(); err != nil {
					t.Fatal(err)
				}
				h.passes(t, vm, outside)
				if n, f, q := h.attached(t, "vm"); n+f > 0 || q {
					t.Errorf("left: %d programs, %d filters, clsact %v", n, f, q)
				}
			})
		}
	}
}

// TestHushEnds kills and freezes the agent that has hushed a machine: it hears all
// the time, says nothing until the deadline, and is heard again from then on.
func TestHushEnds(t *testing.T) {
	const span = 2 * time.Second
	for _, mode := range []Mode{TCX, Clsact} {
		for name, signal := range map[string]unix.Signal{"frozen": unix.SIGSTOP, "killed": unix.SIGKILL} {
			t.Run(string(mode)+"/"+name, func(t *testing.T) {
				t.Parallel()
				h := newHost(t)
				vm, outside := h.addTap(t, "vm"), h.addTap(t, "outside")
				agent := h.fenceHolder(t, mode, "vm", span, true)
				if err := agent.Process.Signal(signal); err != nil {
					t.Fatal(err)
				}
				fences, err := h.gates(t, mode).Standing(context.Background())
				if err != nil || len(fences) != 1 {
					t.Fatalf("standing: %d, %v", len(fences), err)
				}
				defer fences[0].Lower()
				rules, err := fences[0].Rules()
				if err != nil {
					t.Fatal(err)
				}
				silent, frames := 0, fenceFrames()
				for ; bootTime(t) < rules.HushedUntil.Add(-span/4); silent++ {
					f := frames[silent%len(frames)]
					vm.send(t, f, 0)
					h.inject(t, "vm", f)
					if vm.receive(t, 5*time.Second) == nil {
						t.Fatalf("a hushed machine does not hear %.20x", f)
					}
				}
				c, err := fences[0].Counters()
				if err != nil || silent < len(frames) || c.Shut != uint64(silent) {
					t.Errorf("%d frames kept back of %d, %v", c.Shut, silent, err)
				}
				if got := outside.receive(t, soon); got != nil {
					t.Errorf("a hushed machine said %.20x", got)
				}
				for bootTime(t) < rules.HushedUntil {
					time.Sleep(time.Millisecond) // for the kernel's clock: nobody tells
				}
				h.passes(t, vm, outside)
			})
		}
	}
}

// passes wants frames to get through both ways.
func (h *host) passes(t *testing.T, vm, outside *tap) {
	t.Helper()
	for _, f := range fenceFrames() {
		vm.send(t, f, 0)
		if outside.receive(t, 5*time.Second) == nil {
			t.Fatalf("a frame did not leave: %.20x", f)
		}
		h.inject(t, "vm", f)
		if vm.receive(t, 5*time.Second) == nil {
			t.Fatalf("a frame did not arrive: %.20x", f)
		}
	}
}

// flood sends all kinds of frames both ways until the end, and returns how many
// were sent after the deadline and when the last one that passed was sent.
func (h *host) flood(t *testing.T, vm, outside *tap, deadline, end snapline.Instant) (after int, last snapline.Instant) {
	t.Helper()
	for bootTime(t) < end {
		for _, f := range fenceFrames() {
			at := bootTime(t)
			binary.BigEndian.PutUint64(f[len(f)-8:], uint64(at))
			vm.send(t, f, 0)
			h.inject(t, "vm", f)
			if at > deadline {
				after++
			}
			for _, tap := range []*tap{vm, outside} { // perhaps an earlier one
				if got := tap.receive(t, time.Millisecond); got != nil {
					last = max(last, snapline.Instant(binary.BigEndian.Uint64(got[len(got)-8:])))
				}
			}
		}
	}
	return after, last
}

// fenceFrames are IP, ARP, and neither.
func fenceFrames() [][]byte {
	ip := costFrame(0)[:200]
	arp := make([]byte, 60)
	copy(arp, []byte{255, 255, 255, 255, 255, 255, 0x52, 0x54, 0, 0, 0, 1, 8, 6})
	lldp := make([]byte, 60)
	copy(lldp, []byte{255, 255, 255, 255, 255, 255, 0x52, 0x54, 0, 0, 0, 1, 0x88, 0xcc})
	return [][]byte{ip, arp, lldp}
}
