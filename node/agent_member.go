package node

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/protocol"
)

// memberRunner owns one member's machine and what the round has taken hold of.
type memberRunner struct {
	agent   *Agent
	key     memberKey
	machine *protocol.Agent
	loop    *loop
	round   atomic.Pointer[round] // nil between rounds; set by the loop only
}

// round is what one round holds at one member.
type round struct {
	number   snapline.Round
	ctx      context.Context // ends when the round is dropped
	cancel   context.CancelFunc
	work     sync.WaitGroup // goroutines of this round
	strategy snapline.Strategy

	mu      sync.Mutex // fields below, written by the round's goroutines
	vm      snapline.VM
	gate    snapline.Gate
	capture snapline.Capture
	report  snapline.CaptureReport
	paused  bool
	// closed says that the gate is down, with these final counts.
	closed   bool
	counters snapline.GateCounters

	evidence evidenceOfRound
}

func newMemberRunner(a *Agent, k memberKey) *memberRunner {
	r := &memberRunner{agent: a, key: k, machine: protocol.NewAgent(k.member, a.life), loop: newLoop(a.Clock)}
	r.loop.step = r.machine.Step
	r.loop.effect = r.effect
	r.loop.failed = r.failed
	r.loop.trace = a.tracer(string(k.group) + "/" + string(k.member))
	r.loop.note(a.Clock.Now(), protocol.Life{Member: k.member, Incarnation: a.life})
	return r
}

func (r *memberRunner) run() {
	r.loop.run(r.agent.ctx, func() bool { return false })
	r.drop() // the agent is ending: let go of the VM
}

func (r *memberRunner) failed(e protocol.Effect, err error) protocol.Input {
	return protocol.Failed{Round: r.machine.Round(), Effect: fmt.Sprintf("%T", e), Reason: r.reason(err)}
}

func (r *memberRunner) reason(err error) snapline.Reason {
	return snapline.Reason{Member: r.key.member, Host: r.agent.Host, Text: err.Error()}
}

// held returns the VM that a round holds at the moment, or nil. Its monitor has
// room for one client, so whoever else wants to look must look through us.
func (r *memberRunner) held() snapline.VM {
	d := r.round.Load()
	if d == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.vm
}

// effect executes one effect, or begins it when it takes time.
func (r *memberRunner) effect(e protocol.Effect) error {
	switch e := e.(type) {
	case protocol.Send:
		return r.agent.send(e.Msg)
	case protocol.SetTimer:
		r.loop.postAt(e.At, protocol.Rang{Timer: e.Timer})
		return nil
	case protocol.Check:
		ctx, cancel := context.WithCancel(r.agent.ctx)
		d := &round{number: e.Round, ctx: ctx, cancel: cancel, strategy: e.Strategy}
		d.evidence.recorded = make(chan struct{})
		r.round.Store(d)
		r.begin(d, "check", func(d *round) (protocol.Input, error) { return r.check(d, e) })
		return nil
	case protocol.Hush: // which outlives the round
		return r.agent.fences.hush(r.key, e.Round, e.Until)
	case protocol.Drop:
		r.drop()
		r.loop.post(protocol.Dropped{Round: e.Round})
		return nil
	}
	d := r.round.Load()
	if d == nil {
		return nil // dropped meanwhile
	}
	switch e := e.(type) {
	case protocol.ProbePaths:
		if err := d.recordFrom(r.agent.Clock.Now()); err != nil {
			return err
		}
		r.begin(d, protocol.EffectProbe, func(d *round) (protocol.Input, error) { return probe(d, e) })
	case protocol.SetGate:
		if d.gate == nil {
			return nil
		}
		if err := d.record(r.agent.Clock.Now(), e.Rules); err != nil {
			return err
		}
		return d.gate.Set(e.Rules)
	case protocol.PauseVM:
		r.begin(d, "pause", func(d *round) (protocol.Input, error) { return pause(d, e) })
	case protocol.Snap:
		r.begin(d, "snapshot", func(d *round) (protocol.Input, error) { return snap(d, r.agent.Clock) })
	case protocol.CloseGate:
		counters, err := closeGate(d)
		if err != nil {
			return err
		}
		r.loop.post(protocol.GateClosed{Round: d.number, Counters: counters})
	case protocol.Store:
		r.begin(d, "store", func(d *round) (protocol.Input, error) { return r.store(d, e) })
	default:
		panic(fmt.Sprintf("node: unknown effect %T", e))
	}
	return nil
}

// begin runs work beside the loop; its outcome comes back as an event.
func (r *memberRunner) begin(d *round, name string, work func(*round) (protocol.Input, error)) {
	d.work.Go(func() {
		in, err := work(d)
		if err != nil {
			in = protocol.Failed{Round: d.number, Effect: name, Reason: r.reason(err)}
		}
		r.loop.post(in)
	})
}

// probe sends this member's probes and, a little later, looks at what came.
func probe(d *round, e protocol.ProbePaths) (protocol.Input, error) {
	if err := d.gate.Probe(d.ctx, e.Nonce, e.Sender, e.Targets); err != nil {
		return nil, err
	}
	select {
	case <-d.ctx.Done():
		return nil, d.ctx.Err()
	case <-time.After(probeWait):
	}
	seen, err := d.gate.Probes(e.Nonce)
	return protocol.ProbesSeen{Round: d.number, Seen: seen}, err
}

func pause(d *round, e protocol.PauseVM) (protocol.Input, error) {
	d.mu.Lock()
	d.paused = true
	d.mu.Unlock()
	if err := d.vm.Pause(d.ctx, e.AtMost); err != nil {
		return nil, err
	}
	return protocol.Paused{Round: d.number}, nil
}

// snap makes the local snapshot and reads, while the shield is still up, what
// had reached the VM before.
func snap(d *round, clock Clock) (protocol.Input, error) {
	began := clock.Now()
	report, err := d.capture.Cut(d.ctx)
	d.evidence.setCut(began, clock.Now())
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	d.report, d.paused = report, false
	d.mu.Unlock()
	in := protocol.Snapped{Round: d.number, Report: report}
	if d.gate != nil {
		c, err := d.gate.Counters()
		if err != nil {
			return nil, err
		}
		in.Leaked = c.Leaked
	}
	return in, nil
}

// closeGate ends marking, which is one map update, and returns the final counts,
// the same ones when it is asked again: a repeated Disarm may overtake the first
// one's event. Detaching the programs takes the kernel tens of milliseconds; it
// goes on beside, so that the cut need not wait for it, and so does the end of the
// recording.
func closeGate(d *round) (snapline.GateCounters, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.gate == nil || d.closed {
		return d.counters, nil
	}
	if err := d.gate.Set(snapline.GateRules{}); err != nil {
		return d.counters, err
	}
	counters, err := d.gate.Counters()
	if err != nil {
		return counters, err
	}
	d.counters, d.closed = counters, true
	d.work.Go(func() {
		d.evidence.finish(d.ctx, d.gate)
		_ = d.gate.Close() // drop closes again and reports
	})
	return counters, nil
}

// drop ends whatever the round holds, the network first: a VM that runs but
// cannot hear is the worst to be left with.
func (r *memberRunner) drop() {
	d := r.round.Load()
	if d == nil {
		return
	}
	r.round.Store(nil)
	d.cancel()
	defer time.AfterFunc(dropLate, func() { r.stuck(d) }).Stop()
	d.mu.Lock()
	gate, capture := d.gate, d.capture
	d.mu.Unlock()
	if gate != nil {
		if err := gate.Close(); err != nil {
			r.agent.Log.Error("close gate", "member", r.key.member, "error", err)
		}
	}
	if capture != nil {
		capture.Cancel()
	}
	d.work.Wait()
	r.release(d)
}

// stuck says that the machine does not let go of a round, and what can be seen of
// it: later it may be gone.
func (r *memberRunner) stuck(d *round) {
	d.mu.Lock()
	vm := d.vm
	d.mu.Unlock()
	threads := "unknown"
	if t, ok := vm.(interface{ Threads() string }); ok {
		threads = t.Threads()
	}
	r.agent.Log.Error("the machine does not let go of a snapshot that was given up: does its hypervisor answer?", "member", r.key.member, "round", d.number, "threads", threads)
}

// release lets go of what the round's goroutines may have acquired last.
func (r *memberRunner) release(d *round) {
	if d.gate != nil {
		_ = d.gate.Close() // again: check may have opened it after we looked
	}
	if d.capture != nil {
		d.capture.Cancel()
	}
	r.agent.fences.dropHush(r.key, d.number)
	if d.vm == nil {
		return
	}
	if d.paused {
		ctx, cancel := context.WithTimeout(context.Background(), resumeLimit)
		defer cancel()
		if err := d.vm.Resume(ctx); err != nil {
			r.agent.Log.Error("resume", "member", r.key.member, "error", err)
		}
	}
	if err := d.vm.Close(); err != nil {
		r.agent.Log.Warn("let go of vm", "member", r.key.member, "error", err)
	}
}
