package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/snapline/snapline/qemu/qmp"
	"golang.org/x/sys/unix"
)

// restorer brings the disks of a journal back to where they were before it.
type restorer struct {
	store   *Store
	machine Machine // of a running VM
	journal *journal
}

// running finishes or undoes one disk of a VM that runs.
func (r restorer) running(ctx context.Context, disk int) error {
	p, at := r.journal.plan.Disks[disk], r.journal.progress(disk)
	if at.step == merged {
		return removeOverlay(p.Overlay)
	}
	active, err := r.active(ctx, p.Node)
	if err != nil {
		return err
	}
	// A job that has ended behind an earlier agent's back.
	if err := dismissConcluded(ctx, r.machine.Client, p.Node); err != nil {
		return err
	}
	if active {
		if err := r.merge(ctx, disk); err != nil {
			return fmt.Errorf("merge overlay %s into %s: %w", p.Overlay, p.Base, err)
		}
	} else if at.step != pivoting {
		if err := r.neverUsed(ctx, p); err != nil {
			return err
		}
	}
	if _, err := qmp.Run(ctx, r.machine.Client, blockdevDel{Node: p.Node}); err != nil && !qmp.IsRefused(err) {
		return err // refused: the node was never added, or has gone already
	}
	r.store.at("pivoted")
	if err := r.journal.record(disk, merged, nil); err != nil {
		return err
	}
	r.store.at("merged")
	return removeOverlay(p.Overlay)
}

// neverUsed wants that nothing would be lost with an overlay that the running
// VM does not use.
func (r restorer) neverUsed(ctx context.Context, p planEntry) error {
	blank, err := empty(ctx, p.Overlay)
	if err != nil || blank {
		return err
	}
	return &ConflictError{VM: r.journal.plan.Machine, Base: p.Base, Overlay: p.Overlay, Running: true}
}

// active reports whether the guest writes to the node.
func (r restorer) active(ctx context.Context, node string) (bool, error) {
	blocks, err := qmp.Run(ctx, r.machine.Client, queryBlock{})
	if err != nil {
		return false, err
	}
	for _, b := range blocks {
		if b.Inserted != nil && b.Inserted.Node == node {
			return true, nil
		}
		// While the overlay is committed a filter without a name of ours is on top.
		if b.Inserted != nil && b.Inserted.Driver == "mirror_top" {
			if _, found, err := findJob(ctx, r.machine.Client, node); err != nil || found {
				return found, err
			}
		}
	}
	return false, nil
}

// merge commits the active overlay into the file below, or goes on with a
// commit that is under way.
func (r restorer) merge(ctx context.Context, disk int) error {
	p := r.journal.plan.Disks[disk]
	_, found, err := findJob(ctx, r.machine.Client, p.Node)
	if err != nil {
		return err
	}
	f := &follower{restorer: r, disk: disk, node: p.Node, events: r.machine.Client.Subscribe()}
	defer f.events.Close()
	defer func() {
		f.brake.release()
		if f.letGo != nil {
			f.letGo()
		}
	}()
	if f.pidfd, err = unix.PidfdOpen(r.machine.PID, 0); err != nil {
		return err
	}
	defer unix.Close(f.pidfd)
	if r.machine.Watch != nil {
		unwatch, err := r.machine.Watch(ctx)
		if err != nil {
			return err
		}
		defer unwatch()
	}
	if !found {
		// Also when there is a "pivoting" that has come to nothing.
		if err := r.journal.record(disk, merging, nil); err != nil {
			return err
		}
		r.store.at("merging")
		commit := blockCommit{Job: p.Node, Device: p.Node, Base: p.BaseNode, OnError: "report", Speed: r.store.speed}
		if _, err := qmp.Run(ctx, r.machine.Client, commit); err != nil {
			return err
		}
	}
	if err := f.follow(ctx); err != nil {
		return err
	}
	still, err := r.active(ctx, p.Node)
	if err == nil && still {
		err = errors.New("QEMU says that it is done, and still uses the overlay")
	}
	return err
}

func findJob(ctx context.Context, c *qmp.Client, id string) (job, bool, error) {
	jobs, err := qmp.Run(ctx, c, queryJobs{})
	if err != nil {
		return job{}, false, err
	}
	for _, j := range jobs {
		if j.ID == id {
			return j, true, nil
		}
	}
	return job{}, false, nil
}

// follower drives a commit job to its end.
type follower struct {
	restorer
	disk      int
	node      string
	events    *qmp.Events
	pidfd     int
	completed bool
	letGo     func() // ends the hold on the VM; nil if there is none
	brake     brake
	cancelled error
}

// heartbeat is how often a merge marks its journal as being worked on, and
// looks at a job that says nothing.
const heartbeat = time.Second

// follow returns nil when the VM is back on the file below.
func (f *follower) follow(ctx context.Context) error {
	// Giving up takes a moment, too: what is said then must reach QEMU.
	late := context.WithoutCancel(ctx)
	for {
		j, found, err := findJob(late, f.machine.Client, f.node)
		if err != nil {
			return f.died(err)
		}
		if !found {
			return errors.Join(errors.New("its job has vanished"), f.cancelled)
		}
		done, err := f.act(late, j)
		if err != nil {
			return f.died(err)
		}
		if done {
			return f.conclude(late, j)
		}
		if f.letGo == nil && f.cancelled == nil {
			f.brake.press(late, f.machine, j)
		}
		if err := f.wait(ctx); err != nil {
			return f.died(err)
		}
	}
}

// act takes the job's next step.
func (f *follower) act(ctx context.Context, j job) (done bool, err error) {
	client := f.machine.Client
	switch j.Status {
	case "ready":
		f.store.at("ready")
		if !f.completed && f.cancelled == nil {
			if err := f.hold(ctx); err != nil {
				return false, err
			}
			_, err = qmp.Run(ctx, client, jobComplete{ID: j.ID})
			f.completed = err == nil
		}
	case "pending":
		// The guest's writes wait now: what is in the file below is all there is.
		f.store.at("pending")
		if err := f.journal.record(f.disk, pivoting, nil); err != nil {
			qmp.Run(ctx, client, blockJobCancel{ID: j.ID, Force: true})
			return false, err
		}
		f.store.at("pivoting")
		_, err = qmp.Run(ctx, client, jobFinalize{ID: j.ID})
	case "concluded":
		return true, nil
	}
	if qmp.IsRefused(err) {
		err = nil // its status has changed meanwhile
	}
	return false, err
}

// hold stops the VM until the end where the device needs that: QEMU (7.2 at
// least) dies of a failed assertion, "child->perm & BLK_PERM_WRITE", when an
// IDE or SATA disk has a request under way while a commit ends.
func (f *follower) hold(ctx context.Context) error {
	if !f.journal.plan.Disks[f.disk].Hold || f.letGo != nil {
		return nil
	}
	if f.machine.Hold == nil {
		return errors.New("the VM must be stopped for a moment, and nobody here can")
	}
	var err error
	f.letGo, err = f.machine.Hold(ctx)
	return err
}

// wait returns when there may be news. The end of the context cancels the job,
// once; the overlay then stays in use.
func (f *follower) wait(ctx context.Context) error {
	tick := time.NewTimer(f.brake.patience())
	defer tick.Stop()
	ended := ctx.Done()
	if f.cancelled != nil {
		ended = nil
	}
	select {
	case <-f.events.Ready():
		for more := true; more; { // each is only a reason to ask
			_, more = f.events.TryNext()
		}
	case <-tick.C:
		now := time.Now()
		return os.Chtimes(f.journal.path, now, now)
	case <-ended:
		f.cancelled = context.Cause(ctx)
		if f.journal.progress(f.disk).step != pivoting {
			qmp.Run(context.WithoutCancel(ctx), f.machine.Client, blockJobCancel{ID: f.node, Force: true})
		}
	case <-f.machine.Client.Done():
		return f.machine.Client.Err()
	}
	return nil
}

// conclude ends a job that is through, well or not.
func (f *follower) conclude(ctx context.Context, j job) error {
	still, err := f.active(ctx, f.node)
	if err != nil {
		return f.died(err)
	}
	if still && f.journal.progress(f.disk).step == pivoting {
		if err := f.journal.record(f.disk, unpivoted, nil); err != nil {
			return err
		}
	}
	if _, err := qmp.Run(ctx, f.machine.Client, jobDismiss{ID: j.ID}); err != nil {
		return f.died(err)
	}
	switch {
	case !still:
		return nil
	case f.cancelled != nil:
		return f.cancelled
	case j.Error != "":
		return errors.New(j.Error)
	}
	return errors.New("the job ended without success")
}

// exitTime is how long a QEMU that has hung up may take to die.
const exitTime = 2 * time.Second

// died notes how a QEMU that has died has left the file below.
func (f *follower) died(err error) error {
	select {
	case <-f.machine.Client.Done():
	default:
		return err
	}
	if f.journal.progress(f.disk).step != merging || errors.Is(f.machine.Client.Err(), qmp.ErrClosed) {
		return err
	}
	set := []unix.PollFd{{Fd: int32(f.pidfd), Events: unix.POLLIN}}
	if n, pollErr := unix.Poll(set, int(exitTime.Milliseconds())); pollErr != nil || n == 0 {
		return err
	}
	base, idErr := identify(f.journal.plan.Disks[f.disk].Base)
	if idErr != nil {
		return errors.Join(err, idErr)
	}
	return errors.Join(err, f.journal.record(f.disk, stranded, &base))
}

// removeOverlay deletes what has become useless; it may have gone already.
func removeOverlay(path string) error {
	if err := os.Remove(path); errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("overlay: %w", err)
	}
	return syncDir(filepath.Dir(path))
}
