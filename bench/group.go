package main

import (
	"context"
	"fmt"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/api"
	"github.com/snapline/snapline/lab"
	"github.com/snapline/snapline/lab/bank"
)

// cutSample is one snapshot of the group.
type cutSample struct {
	CutMS      float64 `json:"cut_ms"`      // first Arm to last Disarmed
	SkewMS     float64 `json:"skew_ms"`     // first to last member's instant
	PauseMS    float64 `json:"pause_ms"`    // the longest of the members'
	Withheld   uint64  `json:"withheld"`    // packets
	TCPGapMS   float64 `json:"tcp_gap_ms"`  // longest wait of any stream of the workload
	DurationMS float64 `json:"duration_ms"` // of the whole take
	StoredMiB  float64 `json:"stored_mib"`
}

func measureGroup(ctx context.Context, o options) (map[snapline.Strategy][]cutSample, error) {
	l, err := lab.Up(ctx, lab.Options{Name: "bench3", Hosts: 3, Workload: lab.Bank, Snapline: o.program}, nil)
	if err != nil {
		return nil, err
	}
	defer l.Down(context.WithoutCancel(ctx))
	c, err := api.NewClient(l.Server())
	if err != nil {
		return nil, err
	}
	g := snapline.Group{Name: "bank"}
	for _, vm := range l.VMs() {
		g.Members = append(g.Members, snapline.Member{Name: snapline.MemberName(vm.Name), Host: snapline.HostName(vm.Host), QEMU: &snapline.QEMU{QMP: vm.QMP}})
	}
	if _, err := c.Apply(ctx, g); err != nil {
		return nil, err
	}
	all := map[snapline.Strategy][]cutSample{}
	for i := range o.takes {
		for _, strategy := range []snapline.Strategy{snapline.Colour, snapline.Barrier} {
			got, err := cutOnce(ctx, c, l.BankClients(), strategy)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", strategy, err)
			}
			say("  %d/%d %-8s cut %6.1f ms, skew %6.1f ms, longest pause %6.1f ms, TCP gap %6.1f ms", i+1, o.takes, strategy, got.CutMS, got.SkewMS, got.PauseMS, got.TCPGapMS)
			all[strategy] = append(all[strategy], got)
		}
	}
	report, err := bank.Audit(ctx, l.BankClients(), 10*time.Second)
	if err == nil && !report.OK() {
		err = fmt.Errorf("the audit after all snapshots failed:\n%s", report.Checks)
	}
	return all, err
}

func cutOnce(ctx context.Context, c *api.Client, members []*bank.Client, s snapline.Strategy) (cutSample, error) {
	var got cutSample
	if err := wait(ctx, settle); err != nil {
		return got, err
	}
	for _, m := range members {
		if err := m.ResetGaps(ctx); err != nil {
			return got, err
		}
	}
	r, err := take(ctx, c, "bank", s)
	if err != nil {
		return got, err
	}
	got = cutSample{CutMS: r.Cut.DurationMS, SkewMS: r.Cut.SkewMS, Withheld: r.Cut.Withheld, DurationMS: r.DurationMS}
	for _, m := range r.Members {
		got.PauseMS = max(got.PauseMS, m.PauseMS)
		got.StoredMiB += float64(m.StoredBytes) / (1 << 20)
	}
	if err := wait(ctx, time.Second); err != nil {
		return got, err
	}
	for _, m := range members {
		st, err := m.State(ctx)
		if err != nil {
			return got, err
		}
		for _, f := range st.In {
			if f.Transport == "tcp" {
				got.TCPGapMS = max(got.TCPGapMS, f.LongestGapMS)
			}
		}
	}
	return got, c.Delete(ctx, r.ID)
}
