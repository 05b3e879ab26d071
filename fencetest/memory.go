package fencetest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync"

	"github.com/snapline/snapline"
)

// Memory is one host's fences in memory. The zero value with a Now is ready for
// use.
type Memory struct {
	Now func() snapline.Instant // CLOCK_BOOTTIME
	// Fail, when set, is what Raise fails with.
	Fail error

	mu  sync.Mutex
	all []*standing
}

var _ snapline.Fences = (*Memory)(nil)

// standing is what the kernel would hold of a fence.
type standing struct {
	spec     snapline.FenceSpec
	rules    snapline.FenceRules
	counters snapline.FenceCounters
	ways     map[[2]netip.Addr]snapline.Instant
}

// SetFail sets Fail while the fences are in use.
func (m *Memory) SetFail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.Fail = err
}

// Raise puts up a fence.
func (m *Memory) Raise(_ context.Context, s snapline.FenceSpec) (snapline.Fence, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.Fail != nil {
		return nil, m.Fail
	}
	for _, n := range s.NICs {
		if n.Tap == "" {
			return nil, &snapline.Error{Code: snapline.CodeRefused, Reasons: []snapline.Reason{{Text: fmt.Sprintf("NIC %s has no tap", n.ID)}}}
		}
	}
	f := &standing{spec: s, rules: s.Rules, ways: map[[2]netip.Addr]snapline.Instant{}}
	m.all = append(m.all, f)
	return &memoryFence{m: m, standing: f}, nil
}

// Standing lists the fences.
func (m *Memory) Standing(context.Context) ([]snapline.Fence, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []snapline.Fence
	for _, f := range m.all {
		all = append(all, &memoryFence{m: m, standing: f})
	}
	return all, nil
}

// Remove takes the taps away, and with them what stood there.
func (m *Memory) Remove(taps ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all = slices.DeleteFunc(m.all, func(f *standing) bool {
		return slices.ContainsFunc(f.spec.NICs, func(n snapline.NIC) bool { return slices.Contains(taps, n.Tap) })
	})
}

// Addresses of the packets that Out sends.
var (
	From = netip.MustParseAddr("10.0.0.1")
	To   = netip.MustParseAddr("10.0.0.2")
)

// Out sends a packet from the VM.
func (m *Memory) Out(tap string) (passes, marked bool) { return m.Send(tap, From, To) }

// Send sends one between those addresses.
func (m *Memory) Send(tap string, from, to netip.Addr) (passes, marked bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.Now()
	for _, f := range m.at(tap) {
		if f.shut(now) {
			return false, false
		}
		if now < f.rules.HushedUntil {
			f.counters.Shut++
			return false, false
		}
		if now < f.rules.RestoredUntil {
			f.counters.Restored++
			marked = true
		}
		if f.rules.Leased() {
			f.note([2]netip.Addr{from, to}, now)
		}
	}
	return true, marked
}

// In sends a packet to the VM.
func (m *Memory) In(tap string, p Packet) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.Now()
	for _, f := range m.at(tap) {
		if f.shut(now) {
			return false
		}
		if now < f.rules.RefuseUntil && p == OldTimeline {
			f.counters.Refused++
			return false
		}
	}
	return true
}

func (f *standing) shut(now snapline.Instant) bool {
	if f.rules.Leased() && now >= f.rules.OpenUntil {
		f.counters.Shut++
		return true
	}
	return false
}

func (f *standing) note(way [2]netip.Addr, now snapline.Instant) {
	if _, known := f.ways[way]; !known && len(f.ways) == snapline.MaxWays {
		f.counters.Unnoted++
		return
	}
	f.ways[way] = now
}

// at lists the fences of a tap, the one that was raised last first: so frames meet
// them.
func (m *Memory) at(tap string) (fences []*standing) {
	for _, f := range slices.Backward(m.all) {
		if f.on(tap) {
			fences = append(fences, f)
		}
	}
	return fences
}

func (f *standing) on(tap string) bool {
	return slices.ContainsFunc(f.spec.NICs, func(n snapline.NIC) bool { return n.Tap == tap })
}

// memoryFence is a way to reach a fence.
type memoryFence struct {
	m        *Memory
	standing *standing
	closed   bool // under m.mu
}

func (f *memoryFence) Owner() snapline.FenceOwner { return f.standing.spec.Owner }

func (f *memoryFence) use(do func(*standing)) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if f.closed {
		return fmt.Errorf("fence: %w", os.ErrClosed)
	}
	do(f.standing)
	return nil
}

func (f *memoryFence) Set(r snapline.FenceRules) error {
	return f.use(func(s *standing) { s.rules = r })
}

func (f *memoryFence) Rules() (r snapline.FenceRules, err error) {
	err = f.use(func(s *standing) { r = s.rules })
	return r, err
}

func (f *memoryFence) Counters() (c snapline.FenceCounters, err error) {
	err = f.use(func(s *standing) { c = s.counters })
	return c, err
}

func (f *memoryFence) Ways() (all []snapline.Way, err error) {
	err = f.use(func(s *standing) {
		for w, last := range s.ways {
			all = append(all, snapline.Way{From: w[0], To: w[1], Last: last})
		}
	})
	return all, err
}

func (f *memoryFence) Forget(ways []snapline.Way) error {
	return f.use(func(s *standing) {
		for _, w := range ways {
			if k := [2]netip.Addr{w.From, w.To}; s.ways[k] == w.Last {
				delete(s.ways, k)
			}
		}
	})
}

func (f *memoryFence) Covers(nics []snapline.NIC) (all bool, err error) {
	err = f.use(func(s *standing) {
		all = slices.Contains(f.m.all, s)
		for _, n := range nics {
			all = all && n.Tap != "" && s.on(n.Tap)
		}
	})
	return all, err
}

func (f *memoryFence) Lower() error {
	err := f.use(func(s *standing) {
		f.m.all = slices.DeleteFunc(f.m.all, func(o *standing) bool { return o == s })
		f.closed = true
	})
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

func (f *memoryFence) Close() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	f.closed = true
	return nil
}
