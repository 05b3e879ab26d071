package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/snapline/snapline"
)

// report is out/chaos.json.
type report struct {
	OK      bool           `json:"ok"`
	Error   string         `json:"error,omitempty"`
	At      time.Time      `json:"at"`
	Seed    uint64         `json:"seed"`
	Minutes float64        `json:"minutes"`
	Seconds float64        `json:"seconds"` // labs going up and down included
	Load    string         `json:"load_average"`
	Groups  []*groupReport `json:"groups"`
}

// groupReport is what happened to one group.
type groupReport struct {
	Group      string           `json:"group"`
	Seconds    float64          `json:"seconds"`
	Steps      []stepReport     `json:"steps"`
	Faults     map[kind]int     `json:"faults"`
	Checks     map[string]int   `json:"checks"`
	Taken      int              `json:"snapshots_taken"`
	NotTaken   int              `json:"snapshots_not_taken"` // refused or aborted
	Restores   int              `json:"restores"`
	NotDone    int              `json:"restores_failed"`
	Recoveries []recovery       `json:"recoveries"`
	Violations []violation      `json:"violations"`
	Events     []snapline.Event `json:"events"`
}

// stepReport is one step: how long its last fault lasted, and from when it was taken
// back until everything had been looked at.
type stepReport struct {
	step
	HeldMS  float64 `json:"held_ms"`
	WellMS  float64 `json:"well_ms"`
	Seconds float64 `json:"seconds"`
}

// recovery is one that the protection made, from its decision to all members running.
type recovery struct {
	At       time.Time           `json:"at"`
	Snapshot snapline.SnapshotID `json:"snapshot"`
	TookMS   float64             `json:"took_ms"`
	LossMS   float64             `json:"loss_ms"` // what was taken back
}

// violation is a promise that was not kept; Step is 0 at the end.
type violation struct {
	Step  int    `json:"step"`
	Check string `json:"check"`
	Text  string `json:"text"`
}

func newGroupReport(group string) *groupReport {
	return &groupReport{Group: group, Steps: []stepReport{}, Faults: map[kind]int{}, Checks: map[string]int{}, Recoveries: []recovery{}, Violations: []violation{}}
}

func (r *groupReport) violate(step int, check string, err error) {
	r.Violations = append(r.Violations, violation{step, check, err.Error()})
	fmt.Fprintf(os.Stderr, "VIOLATION in %s, step %d, %s: %v\n", r.Group, step, check, err)
}

// count reads the events.
func (r *groupReport) count(w *watch) {
	r.Events = w.all()
	var began time.Time
	var loss float64
	for _, e := range r.Events {
		switch e.Kind {
		case snapline.EventTaken:
			r.Taken++
		case snapline.EventTakeFailed:
			r.NotTaken++
		case snapline.EventRestoreFailed:
			r.NotDone++
		case snapline.EventRecovering:
			if began.IsZero() {
				began = e.At
			}
		case snapline.EventRestored:
			r.Restores++
			if e.Lost != nil {
				loss = ms(e.Lost.To.Sub(e.Lost.From))
			}
		case snapline.EventRecovered:
			if !began.IsZero() && e.Snapshot != "" {
				r.Recoveries = append(r.Recoveries, recovery{e.At, e.Snapshot, ms(e.At.Sub(began)), loss})
			}
			began = time.Time{}
		}
	}
}

func (r report) ok() bool {
	for _, g := range r.Groups {
		if len(g.Violations) > 0 || len(g.Steps) == 0 {
			return false
		}
	}
	return len(r.Groups) > 0
}

func (r report) print(w io.Writer) {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.SetTitle("seed %d, load average %s", r.Seed, r.Load)
	head := table.Row{""}
	for _, g := range r.Groups {
		head = append(head, g.Group)
	}
	t.AppendHeader(head)
	row := func(name string, figure func(*groupReport) string) {
		line := table.Row{name}
		for _, g := range r.Groups {
			line = append(line, figure(g))
		}
		t.AppendRow(line)
	}
	number := func(name string, figure func(*groupReport) int) {
		row(name, func(g *groupReport) string { return fmt.Sprint(figure(g)) })
	}
	row("minutes", func(g *groupReport) string { return fmt.Sprintf("%.1f", g.Seconds/60) })
	number("steps", func(g *groupReport) int { return len(g.Steps) })
	for _, k := range kinds {
		number("  "+string(k), func(g *groupReport) int { return g.Faults[k] })
	}
	number("snapshots taken", func(g *groupReport) int { return g.Taken })
	number("  refused or aborted", func(g *groupReport) int { return g.NotTaken })
	number("restores", func(g *groupReport) int { return g.Restores })
	number("  that failed", func(g *groupReport) int { return g.NotDone })
	number("recoveries among them", func(g *groupReport) int { return len(g.Recoveries) })
	row("  took, median; longest", func(g *groupReport) string {
		return medianAndMost(g.Recoveries, func(r recovery) float64 { return r.TookMS / 1000 })
	})
	row("all well after, median; longest", func(g *groupReport) string {
		return medianAndMost(g.Steps, func(s stepReport) float64 { return s.WellMS / 1000 })
	})
	row("checks", func(g *groupReport) string {
		var all []string
		for _, name := range slices.Sorted(maps.Keys(g.Checks)) {
			all = append(all, fmt.Sprintf("%d %s", g.Checks[name], name))
		}
		return strings.Join(all, ", ")
	})
	number("VIOLATIONS", func(g *groupReport) int { return len(g.Violations) })
	fmt.Fprintln(w, t.Render())
}

// medianAndMost is of seconds.
func medianAndMost[T any](all []T, figure func(T) float64) string {
	if len(all) == 0 {
		return "-"
	}
	var v []float64
	for _, one := range all {
		v = append(v, figure(one))
	}
	slices.Sort(v)
	return fmt.Sprintf("%.1f; %.1f s", v[len(v)/2], v[len(v)-1])
}

func (r report) write(path string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
