package main

import (
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/bpf"
)

// result is out/bench.json.
type result struct {
	At     time.Time                         `json:"at"`
	CPUs   int                               `json:"cpus"`
	Single map[string][]sample               `json:"single"`
	Group  map[snapline.Strategy][]cutSample `json:"group"`
	Gate   bpf.Cost                          `json:"gate"`

	Repository *repositoryResult `json:"repository,omitempty"`
	Recovery   []recoverySample  `json:"recovery,omitempty"`
	Gentle     *gentleResult     `json:"gentle,omitempty"`
	Targets    []target          `json:"targets"`
}

// target is what was to be reached, and what was.
type target struct {
	Name    string  `json:"name"`
	Want    string  `json:"want"`
	Got     float64 `json:"got"`
	Reached bool    `json:"reached"`
}

// median of one figure over all samples.
func median[S any](all []S, figure func(S) float64) float64 {
	if len(all) == 0 {
		return 0
	}
	v := make([]float64, len(all))
	for i, s := range all {
		v[i] = figure(s)
	}
	slices.Sort(v)
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

// judge compares what was measured with what was to be reached.
func (r *result) judge() {
	if len(r.Single) > 0 {
		r.judgeSingle()
	}
	if r.Gate != (bpf.Cost{}) {
		dearest := max(r.Gate.Mark, r.Gate.Shield, r.Gate.Withheld)
		r.Targets = append(r.Targets, target{"gate, dearest packet with a round under way", "≤ 150 ns", dearest, dearest <= 150})
	}
	if len(r.Group) > 0 {
		cut := median(r.Group[snapline.Colour], func(s cutSample) float64 { return s.CutMS })
		r.Targets = append(r.Targets, target{"median coloured cut of three", "≤ 250 ms", cut, cut <= 250})
	}
	if r.Repository != nil {
		r.Targets = append(r.Targets, r.Repository.judge()...)
	}
	if len(r.Recovery) > 0 {
		r.judgeRecovery()
	}
}

func (r *result) judgeSingle() {
	pause := func(s sample) float64 { return s.PauseMS }
	ours, savevm := median(r.Single["snapline"], pause), median(r.Single["savevm"], pause)
	gap := median(r.Single["snapline"], func(s sample) float64 { return s.GapMS })
	r.Targets = append(r.Targets,
		target{"median pause, 1 GiB writing guest", "≤ 25 ms", ours, ours <= 25},
		target{"its ratio to savevm's", "≤ 0.01", ours / savevm, ours/savevm <= 0.01},
		target{"median gap of a TCP ping-pong", "≤ 400 ms", gap, gap <= 400})
}

func (r result) print(w io.Writer) {
	if len(r.Single) > 0 {
		r.printSingle(w)
	}
	if len(r.Group) > 0 {
		r.printGroup(w)
	}
	if r.Gate != (bpf.Cost{}) {
		t := newTable("gate, ns a packet", "rules off, out", "rules off, in", "marked", "shield passes", "withheld")
		t.AppendRow(table.Row{r.Gate.IdleOut, r.Gate.IdleIn, r.Gate.Mark, r.Gate.Shield, r.Gate.Withheld})
		fmt.Fprintln(w, t.Render())
		t = newTable("fence, ns a packet", "no limit", "arriving under a lease", "leaving under one", "marked in quarantine", "refused")
		t.AppendRow(table.Row{r.Gate.FenceOpen, r.Gate.FenceLease, r.Gate.FenceNote, r.Gate.FenceMark, r.Gate.FenceRefuse})
		fmt.Fprintln(w, t.Render())
	}
	if r.Repository != nil {
		r.Repository.print(w)
	}
	if r.Gentle != nil {
		r.Gentle.print(w)
	}
	if len(r.Recovery) > 0 {
		r.printRecovery(w)
	}
	t := newTable("to reach", "what", "target", "measured", "reached")
	for _, g := range r.Targets {
		t.AppendRow(table.Row{g.Name, g.Want, fmt.Sprintf("%.4g", g.Got), g.Reached})
	}
	fmt.Fprintln(w, t.Render())
}

func (r result) printSingle(w io.Writer) {
	t := newTable("one machine, 1 GiB, writing (medians)", "method", "runs", "pause", "ping-pong gap", "capture", "guest speed")
	for _, name := range []string{"snapline", "savevm", "stop + migrate"} {
		s := r.Single[name]
		t.AppendRow(table.Row{name, len(s), millis(median(s, func(s sample) float64 { return s.PauseMS })),
			millis(median(s, func(s sample) float64 { return s.GapMS })),
			millis(median(s, func(s sample) float64 { return s.CaptureMS })),
			fmt.Sprintf("%.0f %%", median(s, func(s sample) float64 { return s.SpeedPct }))})
	}
	fmt.Fprintln(w, t.Render())
}

func (r result) printGroup(w io.Writer) {
	t := newTable("three machines, 256 MiB each, moving money (medians)", "cut", "takes", "cut", "skew", "longest pause", "TCP gap", "withheld", "whole take", "stored")
	for _, name := range []snapline.Strategy{snapline.Colour, snapline.Barrier} {
		s := r.Group[name]
		t.AppendRow(table.Row{name, len(s), millis(median(s, func(s cutSample) float64 { return s.CutMS })),
			millis(median(s, func(s cutSample) float64 { return s.SkewMS })),
			millis(median(s, func(s cutSample) float64 { return s.PauseMS })),
			millis(median(s, func(s cutSample) float64 { return s.TCPGapMS })),
			fmt.Sprintf("%.0f", median(s, func(s cutSample) float64 { return float64(s.Withheld) })),
			millis(median(s, func(s cutSample) float64 { return s.DurationMS })),
			fmt.Sprintf("%.0f MiB", median(s, func(s cutSample) float64 { return s.StoredMiB }))})
	}
	fmt.Fprintln(w, t.Render())
}

func newTable(title string, header ...any) table.Writer {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.SetTitle(title)
	t.AppendHeader(header)
	return t
}

func millis(v float64) string { return fmt.Sprintf("%.1f ms", v) }
