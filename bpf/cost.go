package bpf

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"github.com/snapline/snapline"
)

// Cost is how long the gate's program runs for one packet, in nanoseconds, as
// the kernel's test run (BPF_PROG_TEST_RUN) measures it in a tight loop. Every
// figure includes Harness, what an empty program takes there.
type Cost struct {
	Harness  float64 `json:"harness_ns"`
	IdleOut  float64 `json:"idle_out_ns"` // leaving, rules off
	IdleIn   float64 `json:"idle_in_ns"`  // arriving, rules off
	Mark     float64 `json:"mark_ns"`     // leaving, marked
	Shield   float64 `json:"shield_ns"`   // arriving unmarked, shield up: passes
	Withheld float64 `json:"withheld_ns"` // arriving POST, shield up: withheld
	Record   float64 `json:"record_ns"`   // leaving, marked and recorded

	// A fence, which may stand for months.
	FenceOpen   float64 `json:"fence_open_ns"`   // no limit, as between quarantine and lowering
	FenceLease  float64 `json:"fence_lease_ns"`  // arriving under a lease
	FenceNote   float64 `json:"fence_note_ns"`   // leaving under one, on a way that is known
	FenceMark   float64 `json:"fence_mark_ns"`   // leaving in quarantine: marked
	FenceRefuse float64 `json:"fence_refuse_ns"` // arriving in quarantine from a member: refused
}

// costRuns is how many times each figure is measured; the median counts.
const costRuns = 5

// MeasureCost runs the programs on a full-size TCP packet, the given number of
// times for each figure; 1,000,000 take about a second in all. It attaches
// nothing. It needs what Open needs, root and Linux 5.8.
func MeasureCost(packets int) (Cost, error) {
	c, err := measureCost(packets)
	if err != nil {
		return Cost{}, fmt.Errorf("measure gate: %w", err)
	}
	return c, nil
}

func measureCost(packets int) (Cost, error) {
	objs, err := load(snapline.PostCodepoint)
	if err != nil {
		return Cost{}, err
	}
	defer objs.Close()
	empty, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.SchedCLS, License: "MIT",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, -1), asm.Return()},
	})
	if err != nil {
		return Cost{}, err
	}
	defer empty.Close()

	plain, post := costFrame(0), costFrame(snapline.PostCodepoint)
	var c Cost
	for _, m := range []struct {
		program      *ebpf.Program
		frame        []byte
		mark, shield bool
		ns           *float64
	}{
		{empty, plain, false, false, &c.Harness},
		{objs.FromVm, plain, false, false, &c.IdleOut},
		{objs.ToVm, plain, false, false, &c.IdleIn},
		{objs.FromVm, plain, true, false, &c.Mark},
		{objs.ToVm, plain, false, true, &c.Shield},
		{objs.ToVm, post, false, true, &c.Withheld},
	} {
		rules, err := untilTomorrow(m.mark, m.shield)
		if err != nil {
			return Cost{}, err
		}
		if err := objs.Rules.Put(uint32(0), rules); err != nil {
			return Cost{}, err
		}
		if *m.ns, err = medianRun(m.program, m.frame, packets); err != nil {
			return Cost{}, err
		}
	}
	if c.Record, err = recordCost(objs); err != nil {
		return Cost{}, err
	}
	return c, fenceCost(&c, packets)
}

// recordCost measures as long as the ring has room, again and again.
func recordCost(objs *gateObjects) (float64, error) {
	rules, err := untilTomorrow(true, false)
	if err != nil {
		return 0, err
	}
	rules.RecordUntil = rules.MarkUntil
	if err := objs.Rules.Put(uint32(0), rules); err != nil {
		return 0, err
	}
	runs := make([]time.Duration, costRuns)
	for i := range runs {
		r, err := ringbuf.NewReader(objs.Records)
		if err != nil {
			return 0, err
		}
		_, runs[i], err = objs.FromVm.Benchmark(costFrame(0), recordRoom, nil)
		if err == nil {
			err = drain(r)
		}
		if err = errors.Join(err, r.Close()); err != nil {
			return 0, err
		}
	}
	slices.Sort(runs)
	return float64(runs[costRuns/2].Nanoseconds()), nil
}

// recordRoom is how many records the ring surely holds.
const recordRoom = 40_000

func drain(r *ringbuf.Reader) error {
	if err := r.Flush(); err != nil {
		return err
	}
	var raw ringbuf.Record
	for {
		if err := r.ReadInto(&raw); errors.Is(err, ringbuf.ErrFlushed) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func medianRun(p *ebpf.Program, frame []byte, packets int) (float64, error) {
	runs := make([]time.Duration, costRuns)
	for i := range runs {
		_, each, err := p.Benchmark(frame, max(1, packets/costRuns), nil)
		if err != nil {
			return 0, err
		}
		runs[i] = each
	}
	slices.Sort(runs)
	return float64(runs[costRuns/2].Nanoseconds()), nil
}

// untilTomorrow returns rules that stay on longer than anybody measures.
func untilTomorrow(mark, shield bool) (gateRules, error) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return gateRules{}, fmt.Errorf("read CLOCK_BOOTTIME: %w", err)
	}
	tomorrow := uint64(now.Nano()) + uint64(24*time.Hour)
	var r gateRules
	if mark {
		r.MarkUntil = tomorrow
	}
	if shield {
		r.ShieldUntil = tomorrow
	}
	return r, nil
}

// costFrame is a full-size Ethernet frame with TCP over IPv4.
func costFrame(c snapline.Codepoint) []byte {
	f := make([]byte, 1514)
	copy(f, []byte{0x52, 0x54, 0, 0, 0, 2, 0x52, 0x54, 0, 0, 0, 1}) // to, from
	copy(f[12:], []byte{0x08, 0x00, 0x45, byte(c) << 2, 0x05, 0xdc})
	f[22], f[23] = 64, unix.IPPROTO_TCP
	return f
}
