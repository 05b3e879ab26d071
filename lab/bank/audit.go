package bank

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/snapline/snapline/lab/check"
)

// Report is what an audit found.
type Report struct {
	Checks    check.List `json:"checks"`
	Transfers uint64     `json:"transfers"` // received so far, on all flows
	// Gaps are the longest of each transport since ResetGaps.
	LongestTCPGapMS float64 `json:"longest_tcp_gap_ms"`
	LongestUDPGapMS float64 `json:"longest_udp_gap_ms"`
	Members         []State `json:"members"`
}

// OK reports whether the books are right.
func (r Report) OK() bool { return r.Checks.OK() }

// Audit makes all members quiet, waits at most drain until the transfers under
// way have arrived, compares the books, and lets the members go on. The error
// is for members that could not be asked; what is wrong with the books is in
// the report.
func Audit(ctx context.Context, members []*Client, drain time.Duration) (_ Report, err error) {
	defer func() {
		for _, c := range members {
			err = errors.Join(err, c.Resume(context.WithoutCancel(ctx)))
		}
	}()
	for _, c := range members {
		if _, err := c.Quiesce(ctx); err != nil {
			return Report{}, err
		}
	}
	states, err := drained(ctx, members, drain)
	if err != nil {
		return Report{}, err
	}
	return judge(states), nil
}

// drained reads the books until nothing is under way, or the time is over.
func drained(ctx context.Context, members []*Client, drain time.Duration) ([]State, error) {
	deadline := time.After(drain)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		states, err := readAll(ctx, members)
		if err != nil {
			return nil, err
		}
		if _, unequal := compareFlows(states); len(unequal) == 0 {
			return states, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-deadline:
			return states, nil
		case <-tick.C:
		}
	}
}

func readAll(ctx context.Context, members []*Client) ([]State, error) {
	var states []State
	for _, c := range members {
		s, err := c.State(ctx)
		if err != nil {
			return nil, err
		}
		states = append(states, s)
	}
	return states, nil
}

// judge compares the books of quiet members.
func judge(states []State) Report {
	r := Report{Members: states}
	var initial, balances, sent, received uint64
	var violations, apart []string
	for _, s := range states {
		initial += s.Initial
		balances += s.Balance()
		for _, f := range s.Out {
			sent += f.Amount
		}
		for _, f := range s.In {
			received += f.Amount
			r.Transfers += f.Transfers
			switch f.Transport {
			case "tcp":
				r.LongestTCPGapMS = max(r.LongestTCPGapMS, f.LongestGapMS)
			case "udp":
				r.LongestUDPGapMS = max(r.LongestUDPGapMS, f.LongestGapMS)
			}
		}
		for _, v := range s.Violations {
			violations = append(violations, s.Name+": "+v)
		}
		if !s.Connected() {
			apart = append(apart, s.Name)
		}
	}
	// Unsigned differences wrap, and so does their sum: it is right again.
	inFlight := sent - received
	r.Checks.Add("money", balances+inFlight == initial, "%d in accounts and %d in flight, %d at the start", balances, int64(inFlight), initial)
	pairs, unequal := compareFlows(states)
	r.Checks.Add("flows", pairs > 0 && len(unequal) == 0, "%d compared%s", pairs, listed(unequal))
	r.Checks.Add("connections", len(apart) == 0, "%d members%s", len(states), listed(apart))
	r.Checks.Add("violations", len(violations) == 0, "%d seen by members%s", len(violations), listed(violations))
	r.Checks.Add("busy", r.Transfers > 0, "%d transfers so far", r.Transfers)
	return r
}

// compareFlows holds every sender's end against its receiver's and says of
// which the two differ.
func compareFlows(states []State) (pairs int, unequal []string) {
	type end struct{ from, to, transport string }
	in := make(map[end]Flow)
	for _, s := range states {
		for _, f := range s.In {
			in[end{f.Peer, s.Name, f.Transport}] = f
		}
	}
	for _, s := range states {
		for _, out := range s.Out {
			pairs++
			got := in[end{s.Name, out.Peer, out.Transport}]
			name := fmt.Sprintf("%s %s to %s", out.Transport, s.Name, out.Peer)
			switch {
			case got.Transfers != out.Transfers:
				unequal = append(unequal, fmt.Sprintf("%s: %d sent, %d received", name, out.Transfers, got.Transfers))
			case got.Amount != out.Amount || got.Chain != out.Chain:
				unequal = append(unequal, fmt.Sprintf("%s: %d transfers each, but not the same", name, out.Transfers))
			}
		}
	}
	return pairs, unequal
}

func listed(what []string) string {
	if len(what) == 0 {
		return ""
	}
	return ": " + strings.Join(what, "; ")
}
