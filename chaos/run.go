package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/lab"
	"github.com/snapline/snapline/lab/topology"
)

// workloadCheck tries whether a workload's promises hold.
type workloadCheck interface {
	// start begins what clients do, until stop.
	start(ctx context.Context, seed uint64) (stop func())
	// look says what was looked at, or what is wrong.
	look(ctx context.Context) (string, error)
}

// play runs one group's schedule for its time, or its number of steps. Violations
// are in the report; the error is for a run that could not be made.
func play(ctx context.Context, o options, w lab.Workload, r *groupReport) (err error) {
	began := time.Now()
	say := func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, "[%6.1f s] %s: %s\n", time.Since(began).Seconds(), w, fmt.Sprintf(format, args...))
	}
	s, err := newSite(ctx, o, w, say)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil || len(r.Violations) > 0 {
			s.keepLogs(o.out)
		}
		if cerr := s.clear(context.WithoutCancel(ctx)); cerr != nil {
			r.violate(0, "leftovers", cerr)
		}
		say("the lab is gone")
	}()
	var check workloadCheck = bankCheck{s.lab.BankClients()}
	if w == lab.Etcd {
		clients := s.lab.EtcdClients()
		defer func() {
			for _, c := range clients {
				c.Close()
			}
		}()
		check = &etcdCheck{load: newLoad(clients), watch: s.watch, out: o.out, settled: map[string]int{}}
	}
	if _, err := s.awaitWell(ctx); err != nil {
		return fmt.Errorf("the lab did not come to rest before anything was done to it: %w", err)
	}
	running, stop := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() { s.watch.run(running) })
	endLoad := check.start(running, o.seed)
	defer func() { endLoad(); stop(); watching.Wait() }()
	start := time.Now()
	for st := range schedule(o.seed, string(w)) {
		if time.Since(start) > o.length || o.steps > 0 && st.Number > o.steps || ctx.Err() != nil {
			break
		}
		if err := s.step(ctx, st, check, r); err != nil {
			return err
		}
		if len(r.Violations) > 0 {
			break // one is the cause of the next
		}
	}
	r.Seconds = time.Since(start).Seconds()
	endLoad()
	if ctx.Err() == nil && len(r.Violations) == 0 {
		s.finish(ctx, check, r)
	}
	s.watch.look(ctx)
	r.count(s.watch)
	return context.Cause(ctx)
}

// step does one step and looks at everything.
func (s *site) step(ctx context.Context, st step, check workloadCheck, r *groupReport) error {
	s.say("step %d: %s%v, held %v", st.Number, jobText(st), st.Faults, st.Hold)
	began := time.Now()
	var cures []cure
	defer func() { _ = heal(context.WithoutCancel(ctx), cures) }() // of a step that was cut short
	if err := s.begin(ctx, st); err != nil {
		return err
	}
	for _, f := range st.Faults {
		if err := wait(ctx, f.After); err != nil {
			return err
		}
		c, err := s.strike(ctx, f)
		cures = append(cures, c)
		if err != nil {
			return fmt.Errorf("%v: %w", f, err)
		}
		r.Faults[f.Kind]++
	}
	struck := time.Now()
	if err := wait(ctx, st.Hold); err != nil {
		return err
	}
	err := heal(ctx, cures)
	cures = nil
	if err != nil {
		return fmt.Errorf("take back %v: %w", st.Faults, err)
	}
	healed := time.Now()
	s.look(ctx, st.Number, check, r)
	r.Steps = append(r.Steps, stepReport{step: st, HeldMS: ms(healed.Sub(struck)), WellMS: ms(time.Since(healed)), Seconds: time.Since(began).Seconds()})
	return s.spare(ctx)
}

// spare keeps the repository, which is in memory, from growing for ever.
func (s *site) spare(ctx context.Context) error {
	var st unix.Statfs_t
	if err := unix.Statfs(s.repository, &st); err != nil || int64(st.Blocks-st.Bfree)*st.Bsize < repositoryRoom/4 {
		return err
	}
	return s.busy(s.prune(ctx, snapline.PruneRequest{Group: s.group, Keep: snapline.KeepPolicy{Last: keep}}))
}

// look makes all checks, in the order in which one explains the next.
func (s *site) look(ctx context.Context, number int, check workloadCheck, r *groupReport) {
	began := time.Now()
	last, err := s.awaitWell(ctx)
	if err != nil {
		if ctx.Err() == nil {
			r.violate(number, "well", err)
		}
		return
	}
	r.Checks["well"]++
	well := time.Since(began)
	for {
		s.watch.look(ctx)
		before := s.watch.count(snapline.EventRestored, snapline.EventRecovering)
		text, err := check.look(ctx)
		if ctx.Err() != nil {
			return
		}
		s.watch.look(ctx)
		if err != nil && s.watch.count(snapline.EventRestored, snapline.EventRecovering) != before {
			s.say("once more, for the group was restored meanwhile: %v", err)
			continue
		}
		if err != nil {
			r.violate(number, "workload", err)
			return
		}
		r.Checks["workload"]++
		waited := ""
		if last != nil {
			waited = fmt.Sprintf(" (%v)", last)
		}
		s.say("  well after %.1f s%s; %s", well.Seconds(), waited, text)
		return
	}
}

// begin begins the step's job. An operation that is under way already is as good.
func (s *site) begin(ctx context.Context, st step) error {
	switch st.Job {
	case taking:
		_, err := s.api.Take(ctx, snapline.TakeRequest{Group: s.group, Note: "chaos"})
		return s.busy(err)
	case placing:
		status, err := s.api.Status(ctx, s.group)
		if err != nil {
			return err
		}
		place := map[snapline.MemberName]snapline.HostName{}
		for i, h := range st.Place {
			place[snapline.MemberName(fmt.Sprintf("n%d", i+1))] = snapline.HostName(topology.HostName(h + 1))
		}
		at := time.Now()
		op, err := s.api.Restore(ctx, snapline.RestoreRequest{Snapshot: status.Last, Place: place})
		if err == nil {
			s.watch.ask(asked{op.ID, status.Last, at})
		}
		return s.busy(err)
	}
	return nil
}

// busy is no error, nor is refused: another operation on the group was there first,
// has just deleted the snapshot, or has left a quarantine.
func (s *site) busy(err error) error {
	may := []snapline.Code{snapline.CodeBusy, snapline.CodeRefused, snapline.CodeNotFound}
	if e := (*snapline.Error)(nil); errors.As(err, &e) && slices.Contains(may, e.Code) {
		return nil
	}
	return err
}

func jobText(st step) string {
	if st.Job == noJob {
		return ""
	}
	return "during a " + string(st.Job) + ", "
}

// keepLogs copies the daemons' logs and traces, and the guests' consoles, out of the lab's
// folder, which goes with it.
func (s *site) keepLogs(out string) {
	to := filepath.Join(out, "chaos-logs", string(s.group))
	if os.RemoveAll(to) != nil || os.CopyFS(to, os.DirFS(filepath.Join(s.lab.Dir, "log"))) != nil {
		return
	}
	keep := func(name, from string) {
		if b, err := os.ReadFile(from); err == nil {
			_ = os.WriteFile(filepath.Join(to, name), b, 0o644) // the others may be enough
		}
	}
	for _, vm := range s.lab.VMs() {
		keep(vm.Name+".console", vm.Console)
	}
	for _, name := range slices.Concat([]string{coordinator}, hostNames()) {
		keep(name+".trace", filepath.Join(s.data(name), "trace.txt"))
	}
	s.say("logs, traces and consoles are in %s", to)
}

func hostNames() (all []string) {
	for i := range size {
		all = append(all, topology.HostName(i+1))
	}
	return all
}
