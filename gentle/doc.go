// Package gentle exists so that snapshots of machines on somebody's desktop are
// not felt there. What comes after a capture, hashing, compressing and uploading,
// is done by a process of its own, the worker, that gets what nobody else wants:
//
//   - The kernel runs it at idle priority (SCHED_IDLE, and the idle class of I/O).
//   - A governor in the agent stops it (SIGSTOP) when it has had its share of
//     the processors, and listens: the kernel's pressure (PSI) that is there while
//     the worker stands still is somebody else's. If there is some, it rests.
//
// The drain of a capture's stream is not touched, for guests wait for it. The
// worker is a process because in the agent's own, a thread that the kernel lets
// starve could hold up all others: the collector waits for every running
// goroutine, and the drain would wait for the collector.
//
// Nothing starves for ever: a worker that rests still runs for a tenth of the
// time, and one that has been at one object for long (Options.Patience) gives way no more.
package gentle
