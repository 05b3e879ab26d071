package bpf

import (
	"encoding/binary"
	"os"
	"testing"

	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/bpf/rule"
)

// kernel runs the loaded programs, attached to nothing, on frames of ours.
type kernel struct {
	objs    *gateObjects
	notices *ringbuf.Reader
}

func newKernel(t testing.TB, post snapline.Codepoint) *kernel {
	t.Helper()
	needRoot(t)
	objs, err := load(post)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { objs.Close() })
	notices, err := ringbuf.NewReader(objs.Notices)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { notices.Close() })
	return &kernel{objs, notices}
}

// runnable reports whether BPF_PROG_TEST_RUN accepts the frame: it wants one byte
// more than an Ethernet header, a whole IP header behind an EtherType of IP
// (Linux 6.18), and no more than about a page.
func runnable(frame []byte) bool {
	if len(frame) < 15 || len(frame) > 3000 {
		return false
	}
	switch binary.BigEndian.Uint16(frame[12:]) {
	case unix.ETH_P_IP:
		return len(frame) >= 14+20
	case unix.ETH_P_IPV6:
		return len(frame) >= 14+40
	}
	return true
}

func (k *kernel) judge(t testing.TB, out bool, r snapline.GateRules, frame []byte) rule.Outcome {
	t.Helper()
	if err := k.objs.Rules.Put(uint32(0), encode(r)); err != nil {
		t.Fatal(err)
	}
	if err := k.objs.Counters.Put(uint32(0), make([]gateCounters, cpus(t, k.objs))); err != nil {
		t.Fatal(err)
	}
	program := k.objs.ToVm
	if out {
		program = k.objs.FromVm
	}
	verdict, after, err := program.Test(frame)
	if err != nil {
		t.Fatalf("test run: %v", err)
	}
	o := rule.Outcome{Pass: int32(verdict) == -1, Notice: k.notice(t), Probe: k.probe(t)}
	if !o.Pass && verdict != 2 {
		t.Fatalf("verdict %d is neither TC_ACT_UNSPEC nor TC_ACT_SHOT", int32(verdict))
	}
	if o.Pass {
		o.Frame = after
	}
	var perCPU []gateCounters
	if err := k.objs.Counters.Lookup(uint32(0), &perCPU); err != nil {
		t.Fatal(err)
	}
	o.Counters = sum(perCPU)
	return o
}

func cpus(t testing.TB, objs *gateObjects) int {
	t.Helper()
	var perCPU []gateCounters
	if err := objs.Counters.Lookup(uint32(0), &perCPU); err != nil {
		t.Fatal(err)
	}
	return len(perCPU)
}

func (k *kernel) notice(t testing.TB) bool {
	t.Helper()
	if k.notices.AvailableBytes() == 0 {
		return false
	}
	if _, err := k.notices.Read(); err != nil {
		t.Fatal(err)
	}
	if k.notices.AvailableBytes() != 0 {
		t.Fatal("more than one notice was left")
	}
	return true
}

// probe takes what the program has recorded out of the map.
func (k *kernel) probe(t testing.TB) *rule.Probe {
	t.Helper()
	var key gateProbe
	var seen uint32
	all := k.objs.Probes.Iterate()
	if !all.Next(&key, &seen) {
		return nil
	}
	if err := k.objs.Probes.Delete(key); err != nil {
		t.Fatal(err)
	}
	return &rule.Probe{Nonce: key.Nonce, Sender: key.Sender, Seen: snapline.Codepoint(seen)}
}

// TestOneNoticeAtATime: while user space has not fetched the first notice, a
// flood of withheld packets leaves no more.
func TestOneNoticeAtATime(t *testing.T) {
	k := newKernel(t, snapline.PostCodepoint)
	rules, err := untilTomorrow(false, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.objs.Rules.Put(uint32(0), rules); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, _, err := k.objs.ToVm.Benchmark(costFrame(snapline.PostCodepoint), 1000, nil); err != nil {
			t.Fatal(err)
		}
		if !k.notice(t) { // which fails when there are two
			t.Fatal("no notice")
		}
	}
}

func bootTime(t testing.TB) snapline.Instant {
	t.Helper()
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		t.Fatal(err)
	}
	return snapline.Instant(now.Nano())
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("the gate's tests load eBPF programs and make network namespaces: run them as root")
	}
}
