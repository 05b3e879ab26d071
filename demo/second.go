package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/lab/etcd"
)

// The second act: the group is protected, a host dies, and nobody does anything.
const (
	every      = time.Minute      // so that the recovery has one snapshot to choose
	loadAfter2 = 2 * time.Second  // on the two members that are left
	patience   = 90 * time.Second // for what happens by itself
	victim     = "h2"             // runs n1 since the first act
)

// The journals of the two acts' loads.
const (
	firstJournal  = "demo-journal.jsonl"
	secondJournal = "demo-journal-2.jsonl"
)

// secondAct is out/demo.json's figures of it.
type secondAct struct {
	Host     string              `json:"host"`
	Snapshot snapline.SnapshotID `json:"snapshot"`
	// Times are from the host's death: until it counted as lost, and until all
	// members ran.
	LostMS    float64          `json:"lost_ms"`
	RunningMS float64          `json:"running_ms"`
	LossMS    float64          `json:"loss_ms"` // what the group did and was taken back
	Load      loadReport       `json:"load"`
	Checks    checkList        `json:"checks"`
	Events    []snapline.Event `json:"events"`
}

func (d *demo) second(ctx context.Context, clients []*etcd.Client) error {
	d.say("second act: snapline protect etcd --every %v", every)
	before, err := etcd.AwaitHealthy(ctx, clients)
	if err != nil {
		return err
	}
	path := filepath.Join(d.out, secondJournal)
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	loadCtx, stop := context.WithCancel(ctx)
	defer stop()
	loaded := make(chan error, 1)
	go func() {
		loaded <- etcd.Load(loadCtx, etcd.LoadOptions{Endpoints: d.lab.EtcdEndpoints(), Dial: d.lab.Switch().DialContext}, f)
	}()
	began := time.Now()
	if err := d.command(ctx, os.Stdout, "protect", "etcd", "--every", every.String(), "--keep-last", "3").Run(); err != nil {
		return fmt.Errorf("snapline protect: %w", err)
	}
	if _, err := d.awaitEvent(ctx, snapline.EventTaken, began); err != nil {
		return err
	}
	if err := d.awaitProtected(ctx); err != nil {
		return err
	}
	d.say("host %s dies: SIGKILL to its agent and its VM. No command is given from here on", victim)
	died := time.Now()
	if err := d.lab.KillHost(ctx, victim); err != nil {
		return err
	}
	if err := pause(ctx, loadAfter2); err != nil {
		return err
	}
	stop()
	if err := <-loaded; err != nil {
		return err
	}
	return d.comesBack(ctx, clients, died, etcd.Claim{Before: before}, path)
}

// comesBack waits for the group and checks what has come back.
func (d *demo) comesBack(ctx context.Context, clients []*etcd.Client, died time.Time, claim etcd.Claim, journal string) (err error) {
	a := &secondAct{Host: victim}
	d.report.Second = a
	recovered, err := d.awaitEvent(ctx, snapline.EventRecovered, died)
	if err != nil {
		return err
	}
	lost, err := d.awaitEvent(ctx, snapline.EventHostLost, died)
	if err != nil {
		return err
	}
	restored, err := d.awaitEvent(ctx, snapline.EventRestored, died)
	if err != nil {
		return err
	}
	a.Snapshot, a.LostMS, a.RunningMS = recovered.Snapshot, ms(lost.At.Sub(died)), ms(recovered.At.Sub(died))
	if restored.Lost == nil {
		return errors.New("the restore does not say what it has taken back")
	}
	a.LossMS = ms(restored.Lost.To.Sub(restored.Lost.From))
	claim.Began = restored.Lost.From // the cut was asked for then
	second, err := readJournal(journal)
	if err != nil {
		return err
	}
	a.Load = loadReport{Acknowledged: second.Acknowledged(time.Time{}), BeforeTake: second.Acknowledged(claim.Began)}
	if claim.Journal, err = d.attemptedBefore(); err != nil {
		return err
	}
	claim.Journal = append(claim.Journal, second...)
	if a.Events, err = d.events(ctx, died); err != nil {
		return err
	}
	for _, e := range a.Events {
		fmt.Fprintf(os.Stderr, "  %5.1f s  %s\n", e.At.Sub(died).Seconds(), e.Text)
	}
	d.say("all members run %.1f s after the host's death; is it the cluster of the last snapshot?", a.RunningMS/1000)
	wait, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	a.Checks, err = d.verify(wait, clients, claim)
	fmt.Fprintln(os.Stderr, a.Checks)
	if err == nil && !a.Checks.OK() {
		err = errors.New("a check of the recovered cluster failed")
	}
	return err
}

// attemptedBefore is what the first act has tried to write: some of it was
// taken back by its restore, so that no write of it is missed now.
func (d *demo) attemptedBefore() (tried etcd.Journal, err error) {
	first, err := readJournal(filepath.Join(d.out, firstJournal))
	for _, e := range first {
		if e.Kind == etcd.Attempt {
			tried = append(tried, e)
		}
	}
	return tried, err
}

// awaitProtected waits until each member's network would close by itself.
func (d *demo) awaitProtected(ctx context.Context) error {
	return d.eventually(ctx, "the protection has nothing to complain of", func() (bool, error) {
		var s snapline.GroupStatus
		err := d.query(ctx, &s, "status", "etcd")
		return err == nil && s.Protection != nil && s.Protection.State == snapline.ProtectionOK, err
	})
}

// awaitEvent waits for an event of a kind since a moment.
func (d *demo) awaitEvent(ctx context.Context, kind snapline.EventKind, since time.Time) (found snapline.Event, err error) {
	return found, d.eventually(ctx, "event "+string(kind), func() (bool, error) {
		all, err := d.events(ctx, since)
		for _, e := range all {
			if e.Kind == kind {
				found = e
				return true, nil
			}
		}
		return false, err
	})
}

func (d *demo) events(ctx context.Context, since time.Time) (after []snapline.Event, err error) {
	var all []snapline.Event
	err = d.query(ctx, &all, "events")
	for _, e := range all {
		if !e.At.Before(since) {
			after = append(after, e)
		}
	}
	return after, err
}

func (d *demo) eventually(ctx context.Context, what string, try func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		ok, err := try()
		if ok {
			return nil
		}
		if pause(ctx, 100*time.Millisecond) != nil {
			return fmt.Errorf("%s: not within %v: %w", what, patience, errors.Join(err, context.Cause(ctx)))
		}
	}
}
