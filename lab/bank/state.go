package bank

import (
	"cmp"
	"slices"
)

// State is one member's books at one moment.
type State struct {
	Name string `json:"name"`
	// Quiet: no transfer is begun until Resume.
	Quiet    bool     `json:"quiet"`
	Initial  uint64   `json:"initial"` // all accounts, at the start
	Balances []uint64 `json:"balances"`
	Out      []Flow   `json:"out"`
	In       []Flow   `json:"in"`
	// Violations are what the member saw that cannot happen, the first 20.
	Violations []string `json:"violations"`
}

// State reads the member's books.
func (m *Member) State() State {
	m.mu.Lock()
	defer m.mu.Unlock()
	return State{
		Name: m.cfg.Name, Quiet: m.quiet, Initial: accounts * initialBalance,
		Balances: slices.Clone(m.balances[:]), Out: flows(m.out), In: flows(m.in),
		Violations: append([]string{}, m.violations...),
	}
}

// Quiesce ends the beginning of transfers; those under way are finished.
func (m *Member) Quiesce() { m.setQuiet(true) }

// Resume lets the member move money again.
func (m *Member) Resume() { m.setQuiet(false) }

func (m *Member) setQuiet(quiet bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.quiet = quiet
}

// ResetGaps forgets the longest gaps seen so far.
func (m *Member) ResetGaps() {
	m.mu.Lock()
	for _, f := range m.in {
		f.LongestGapMS = 0
	}
	m.mu.Unlock()
	m.bench.reset()
}

// Balance is the money in all accounts.
func (s State) Balance() (sum uint64) {
	for _, b := range s.Balances {
		sum += b
	}
	return sum
}

// Connected reports whether every flow has carried something.
func (s State) Connected() bool {
	for _, f := range slices.Concat(s.Out, s.In) {
		if !f.Connected {
			return false
		}
	}
	return true
}

func flows(all map[string]*Flow) []Flow {
	list := make([]Flow, 0, len(all))
	for _, f := range all {
		list = append(list, *f)
	}
	slices.SortFunc(list, func(a, b Flow) int {
		return cmp.Or(cmp.Compare(a.Transport, b.Transport), cmp.Compare(a.Peer, b.Peer))
	})
	return list
}
