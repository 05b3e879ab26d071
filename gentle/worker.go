package gentle

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/snapline/snapline"
)

// Work is the life of a worker: it opens the repository, stores what comes on
// in, and answers on out. An error is one of the way to its agent; all others
// are in the answer.
func Work(ctx context.Context, in io.Reader, out io.Writer, open func(context.Context) (snapline.Repository, error)) error {
	r := newReceiver(in)
	q, err := r.request()
	if err != nil {
		return err
	}
	a := answerOf(store(ctx, q, r, open))
	b, err := json.Marshal(a)
	if err != nil {
		return err
	}
	_, err = out.Write(append(b, '\n'))
	return err
}

func store(ctx context.Context, q request, r *receiver, open func(context.Context) (snapline.Repository, error)) (o snapline.Object, err error) {
	repo, err := open(ctx)
	if err != nil {
		return o, err
	}
	if c, ok := repo.(io.Closer); ok {
		defer func() { err = errors.Join(err, c.Close()) }()
	}
	if repo.ID() != q.Repository {
		return o, fmt.Errorf("another repository is at that place now: %s, not %s", repo.ID(), q.Repository)
	}
	if q.Disk != "" {
		return repo.PutDisk(ctx, q.Snapshot, q.Member, q.Disk, snapline.DiskContent{Size: q.Size, Extents: r.extents()})
	}
	return repo.Put(ctx, q.Snapshot, q.Member, r)
}

// I/O priorities of ioprio_set(2).
const (
	ioWhoProcess = 1
	ioClassShift = 13
	ioClassBest  = 2
	ioClassIdle  = 3
	ioBestNormal = 4
)

// Lower is what a worker begins with. It makes all of this process's threads, and so those that they will start,
// the last in line for processors and disks. Threads are dealt with until there
// is none that was started meanwhile by one that had its turn later.
func Lower() error {
	// Threads compete within their session first where autogrouping is on (sched(7));
	// a worker is a session of its own.
	_ = os.WriteFile("/proc/self/autogroup", []byte("19"), 0)
	idle := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_IDLE}
	done := map[int]bool{}
	for before := -1; before < len(done); {
		before = len(done)
		if err := eachThread(os.Getpid(), func(tid int) error {
			if done[tid] {
				return nil
			}
			done[tid] = true
			return errors.Join(setPriority(tid, idle), setIOPriority(tid, ioClassIdle<<ioClassShift))
		}); err != nil {
			return err
		}
	}
	return nil
}

// hasten is what a worker's threads become when patience is at its end.
func hasten(pid int) error {
	normal := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL, Nice: 10}
	return eachThread(pid, func(tid int) error {
		return errors.Join(setPriority(tid, normal), setIOPriority(tid, ioClassBest<<ioClassShift|ioBestNormal))
	})
}

func eachThread(pid int, do func(tid int) error) error {
	tasks, err := os.ReadDir("/proc/" + strconv.Itoa(pid) + "/task")
	if err != nil {
		return err
	}
	var all []error
	for _, t := range tasks {
		if tid, err := strconv.Atoi(t.Name()); err == nil {
			all = append(all, do(tid))
		}
	}
	return errors.Join(all...)
}

// setPriority changes a thread's; one that has ended meanwhile is no error.
func setPriority(tid int, a unix.SchedAttr) error {
	if err := unix.SchedSetAttr(tid, &a, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("priority of thread %d: %w", tid, err)
	}
	return nil
}

func setIOPriority(tid int, prio uintptr) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOPRIO_SET, ioWhoProcess, uintptr(tid), prio); errno != 0 && errno != unix.ESRCH {
		return fmt.Errorf("I/O priority of thread %d: %w", tid, errno)
	}
	return nil
}
