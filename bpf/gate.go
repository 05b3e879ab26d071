package bpf

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/cilium/ebpf/ringbuf"

	"github.com/snapline/snapline"
)

// Gate is an open gate. After Close its methods return os.ErrClosed. Safe for
// use from several goroutines.
type Gate struct {
	ns       namespace
	ports    []port
	post     snapline.Codepoint
	mode     Mode
	withheld chan struct{}
	done     chan struct{}  // closed by Close
	waiter   sync.WaitGroup // of the goroutine that reads notices

	mu      sync.RWMutex // held for writing by Close, else for reading
	closed  bool
	objs    *gateObjects
	ties    []attachment
	notices *ringbuf.Reader

	rulesMu sync.Mutex // guards the fields below, and their way into the kernel
	rules   gateRules
	// lowerShield is Options' and set before the gate is handed out.
	lowerShield bool
	recorder    *recorder // nil until Record
}

var _ snapline.Gate = (*Gate)(nil)

// newGate takes over objs and ties, also when it fails.
func newGate(ns namespace, ports []port, post snapline.Codepoint, objs *gateObjects, ties []attachment, mode Mode) (*Gate, error) {
	notices, err := ringbuf.NewReader(objs.Notices)
	if err != nil {
		err = fmt.Errorf("open gate: %w", err)
		return nil, errors.Join(err, detachAll(ties), objs.Close())
	}
	g := &Gate{
		ns: ns, ports: ports, post: post, mode: mode,
		withheld: make(chan struct{}), done: make(chan struct{}),
		objs: objs, ties: ties, notices: notices,
	}
	g.waiter.Go(g.forward)
	return g, nil
}

// Mode says how the kernel holds this gate.
func (g *Gate) Mode() Mode { return g.mode }

// Set replaces the rules on all NICs by one map update, about 1 µs. A frame that
// the VM sends after Set has returned is judged by the new rules.
func (g *Gate) Set(r snapline.GateRules) error {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.closed {
		return fmt.Errorf("set gate rules: %w", os.ErrClosed)
	}
	g.rulesMu.Lock()
	defer g.rulesMu.Unlock()
	rules := encode(r)
	if g.lowerShield {
		rules.ShieldUntil = 0
	}
	rules.RecordUntil, rules.KeepUntil = g.rules.RecordUntil, g.rules.KeepUntil
	if r.MarkUntil > snapline.Never { // from the cut to the end of the recording
		rules.KeepUntil = rules.RecordUntil
	}
	if g.recorder != nil && rules.ShieldUntil > 0 {
		g.recorder.depth.hurry()
	}
	if err := g.objs.Rules.Put(uint32(0), rules); err != nil {
		return fmt.Errorf("set gate rules: %w", err)
	}
	g.rules = rules
	return nil
}

// Counters reads the sums over all NICs and CPUs since Open. Frames that the
// gate keeps back are in neither Out nor In; probes are in no counter.
func (g *Gate) Counters() (snapline.GateCounters, error) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.closed {
		return snapline.GateCounters{}, fmt.Errorf("read gate counters: %w", os.ErrClosed)
	}
	var perCPU []gateCounters
	if err := g.objs.Counters.Lookup(uint32(0), &perCPU); err != nil {
		return snapline.GateCounters{}, fmt.Errorf("read gate counters: %w", err)
	}
	c := sum(perCPU)
	if g.lowerShield {
		c.Leaked = 0
	}
	return c, nil
}

// Close takes the programs off the taps and frees them. Closing twice is fine.
func (g *Gate) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil
	}
	g.closed = true
	errs := []error{detachAll(g.ties)} // first: from here on packets pass untouched
	close(g.done)
	errs = append(errs, g.notices.Close())
	if g.recorder != nil {
		errs = append(errs, g.recorder.close())
		g.recorder.readers.Wait()
	}
	g.waiter.Wait()
	errs = append(errs, g.objs.Close())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close gate: %w", err)
	}
	return nil
}
