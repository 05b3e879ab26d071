package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/api"
	"github.com/snapline/snapline/lab"
	"github.com/snapline/snapline/lab/etcd"
)

// recoverySample is one host's death, from SIGKILL to everything on it.
type recoverySample struct {
	// LostMS is until it counted as lost: what was left of its lease, and the
	// margins.
	LostMS float64 `json:"lost_ms"`
	// The phases of the restore: PLAN reads and checks everything, as it does for a
	// person. DecideMS is what comes before it.
	DecideMS float64 `json:"decide_ms"`
	PlanMS   float64 `json:"plan_ms"`
	StopMS   float64 `json:"stop_ms"`
	LoadMS   float64 `json:"load_ms"`
	OpenMS   float64 `json:"open_ms"`
	// RunningMS is the whole time until all members ran, AnswersMS until the
	// cluster answered a client on every member.
	RunningMS float64 `json:"running_ms"`
	AnswersMS float64 `json:"answers_ms"`
	LossMS    float64 `json:"loss_ms"` // what was taken back
}

// mourning is how long one waits for what happens by itself.
const mourning = 2 * time.Minute

// measureRecovery lets one host after the other die under the demo's group.
func measureRecovery(ctx context.Context, o options) ([]recoverySample, error) {
	l, err := lab.Up(ctx, lab.Options{Name: "benchr", Workload: lab.Etcd, Snapline: o.program}, nil)
	if err != nil {
		return nil, err
	}
	defer l.Down(context.WithoutCancel(ctx))
	c, err := api.NewClient(l.Server())
	if err != nil {
		return nil, err
	}
	defer c.Close()
	m := &mourner{lab: l, api: c, group: "etcd", etcd: l.EtcdClients()}
	defer m.close()
	if err := m.protect(ctx); err != nil {
		return nil, err
	}
	var all []recoverySample
	for i := range o.deaths {
		got, err := m.mourn(ctx, i)
		if err != nil {
			return nil, fmt.Errorf("death %d: %w", i+1, err)
		}
		say("  %d/%d lost after %5.0f ms, plan %4.0f, stop %4.0f, load %5.0f, open %4.0f; all run after %5.0f ms, all answer after %5.0f", i+1, o.deaths,
			got.LostMS, got.PlanMS, got.StopMS, got.LoadMS, got.OpenMS, got.RunningMS, got.AnswersMS)
		all = append(all, got)
	}
	return all, nil
}

type mourner struct {
	lab   *lab.Lab
	api   *api.Client
	group snapline.GroupName
	etcd  []*etcd.Client
}

func (m *mourner) close() {
	for _, c := range m.etcd {
		c.Close()
	}
}

func (m *mourner) protect(ctx context.Context) error {
	g := snapline.Group{Name: m.group}
	for _, vm := range m.lab.VMs() {
		g.Members = append(g.Members, snapline.Member{Name: snapline.MemberName(vm.Name), Host: snapline.HostName(vm.Host), QEMU: &snapline.QEMU{QMP: vm.QMP}})
	}
	if _, err := m.api.Apply(ctx, g); err != nil {
		return err
	}
	_, err := m.api.Protect(ctx, snapline.ProtectRequest{Group: m.group, EveryMS: 3600_000, Keep: snapline.KeepPolicy{Last: 3}})
	return err
}

// mourn takes a snapshot, lets a host die that has a member, and follows what
// happens.
func (m *mourner) mourn(ctx context.Context, i int) (got recoverySample, err error) {
	if err := m.calm(ctx); err != nil { // the protection's own first one is done
		return got, err
	}
	if _, err := take(ctx, m.api, m.group, snapline.Colour); err != nil {
		return got, err
	}
	s, err := m.api.Status(ctx, m.group)
	if err != nil {
		return got, err
	}
	victim := string(s.Members[i%len(s.Members)].Host)
	last, err := m.last(ctx)
	if err != nil {
		return got, err
	}
	died := time.Now()
	if err := m.lab.KillHost(ctx, victim); err != nil {
		return got, err
	}
	recovered, err := m.await(ctx, snapline.EventRecovered, last)
	if err != nil {
		return got, err
	}
	if _, err := etcd.AwaitHealthy(ctx, m.etcd); err != nil {
		return got, err
	}
	got.AnswersMS, got.RunningMS = ms(time.Since(died)), ms(recovered.At.Sub(died))
	lost, err := m.await(ctx, snapline.EventHostLost, last)
	if err != nil {
		return got, err
	}
	got.LostMS = ms(lost.At.Sub(died))
	restored, err := m.await(ctx, snapline.EventRestored, last)
	if err != nil {
		return got, err
	}
	if restored.Lost != nil {
		got.LossMS = ms(restored.Lost.To.Sub(restored.Lost.From))
	}
	if err := m.phases(ctx, restored.Op, lost.At, &got); err != nil {
		return got, err
	}
	// The host comes back for the next time; its members do not.
	if err := m.lab.StartAgent(victim); err != nil {
		return got, err
	}
	_, err = m.await(ctx, snapline.EventHostReturned, last)
	return got, err
}

// phases reads when the restore's phases began.
func (m *mourner) phases(ctx context.Context, id snapline.OperationID, decided time.Time, got *recoverySample) error {
	steps, err := m.api.Progress(ctx, id, 0)
	if err != nil {
		return err
	}
	at := map[string]time.Time{}
	var end time.Time
	for p := range steps {
		if p.Phase != "" {
			at[p.Phase] = p.At
		}
		end = p.At
	}
	if len(at) != 4 {
		return fmt.Errorf("phases of %s: %v", id, at)
	}
	got.DecideMS = ms(at["plan"].Sub(decided))
	got.PlanMS, got.StopMS = ms(at["stop"].Sub(at["plan"])), ms(at["load"].Sub(at["stop"]))
	got.LoadMS, got.OpenMS = ms(at["open"].Sub(at["load"])), ms(end.Sub(at["open"]))
	return nil
}

func (m *mourner) last(ctx context.Context) (uint64, error) {
	all, err := m.api.Events(ctx, "", 0)
	if err != nil || len(all) == 0 {
		return 0, err
	}
	return all[len(all)-1].ID, nil
}

// await waits for an event of a kind after another one.
func (m *mourner) await(ctx context.Context, kind snapline.EventKind, after uint64) (snapline.Event, error) {
	ctx, cancel := context.WithTimeout(ctx, mourning)
	defer cancel()
	events, err := m.api.FollowEvents(ctx, after)
	if err != nil {
		return snapline.Event{}, err
	}
	for e := range events {
		if e.Kind == kind {
			return e, nil
		}
	}
	return snapline.Event{}, fmt.Errorf("no event %s: %w", kind, errors.Join(context.Cause(ctx), errors.New("the coordinator sends no more")))
}

// calm waits until every member is fenced and no operation is under way.
func (m *mourner) calm(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, mourning)
	defer cancel()
	for {
		s, err := m.api.Status(ctx, m.group)
		if err == nil && s.Operation == "" && s.Last != "" && s.Protection != nil && s.Protection.State == snapline.ProtectionOK {
			return nil
		}
		if wait(ctx, 100*time.Millisecond) != nil {
			return fmt.Errorf("the protection does not come to rest: %+v, %w", s.Protection, errors.Join(err, context.Cause(ctx)))
		}
	}
}

func (r result) printRecovery(w io.Writer) {
	t := newTable("a host's death, three etcd members of 256 MiB with disks (medians; largest)", "deaths", "lost", "decide", "plan", "stop", "load", "open", "all run", "all answer")
	both := func(figure func(recoverySample) float64) string {
		most := 0.0
		for _, s := range r.Recovery {
			most = max(most, figure(s))
		}
		return fmt.Sprintf("%.0f; %.0f ms", median(r.Recovery, figure), most)
	}
	t.AppendRow(table.Row{len(r.Recovery), both(func(s recoverySample) float64 { return s.LostMS }), both(func(s recoverySample) float64 { return s.DecideMS }),
		both(func(s recoverySample) float64 { return s.PlanMS }), both(func(s recoverySample) float64 { return s.StopMS }),
		both(func(s recoverySample) float64 { return s.LoadMS }), both(func(s recoverySample) float64 { return s.OpenMS }),
		both(func(s recoverySample) float64 { return s.RunningMS }), both(func(s recoverySample) float64 { return s.AnswersMS })})
	fmt.Fprintln(w, t.Render())
}

// judgeRecovery holds the slowest one against the lease and ten seconds.
func (r *result) judgeRecovery() {
	limit := ms(snapline.DefaultLease + 10*time.Second)
	slowest := 0.0
	for _, s := range r.Recovery {
		slowest = max(slowest, s.RunningMS)
	}
	r.Targets = append(r.Targets, target{"host's death to all members running, slowest", fmt.Sprintf("≤ lease + 10 s = %.0f ms", limit), slowest, slowest <= limit})
}
