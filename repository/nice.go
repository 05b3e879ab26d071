package repository

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// niceness of a thread that compresses: against a guest's vCPU at 0 it gets a
// tenth of a busy processor (sched(7): each step is a factor of about 1.25).
// The lowest priority, 19, would give it 1.5 %, and then it can hold up the
// whole process: the Go runtime now and then waits for every running goroutine.
// It counts among the threads of one session or control group only (sched(7),
// autogroup); between groups the groups' own weights decide.
const niceness = 10

// yieldProcessor ties the calling goroutine to its thread and lowers the
// thread's priority: on Linux it is a thread's own (setpriority(2)). normal
// undoes both. A process that may not raise priorities keeps the goroutine tied
// to the thread, which then ends with it, so that nobody else gets it.
func yieldProcessor() (normal func()) {
	runtime.LockOSThread()
	tid := unix.Gettid()
	before, err := unix.Getpriority(unix.PRIO_PROCESS, tid)
	if err != nil {
		return runtime.UnlockOSThread
	}
	before = 20 - before // the system call itself returns 20 - nice
	if before >= niceness || unix.Setpriority(unix.PRIO_PROCESS, tid, niceness) != nil {
		return runtime.UnlockOSThread
	}
	return func() {
		if unix.Setpriority(unix.PRIO_PROCESS, tid, before) == nil {
			runtime.UnlockOSThread()
		}
	}
}
