package gentle

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// lastForDisk ties the calling goroutine to its thread, whose reads then come
// last at the disk, where the I/O scheduler knows priorities (BFQ). A thread that
// waits for the disk keeps no others of a Go program waiting. normal undoes it.
func lastForDisk() (normal func()) {
	runtime.LockOSThread()
	tid := unix.Gettid()
	before, _, errno := unix.Syscall(unix.SYS_IOPRIO_GET, ioWhoProcess, uintptr(tid), 0)
	if errno != 0 || setIOPriority(tid, ioClassIdle<<ioClassShift) != nil {
		return runtime.UnlockOSThread
	}
	return func() {
		if setIOPriority(tid, before) == nil {
			runtime.UnlockOSThread()
		} // else the thread ends with its goroutine
	}
}
