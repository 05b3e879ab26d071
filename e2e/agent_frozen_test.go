package e2e

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/snapline/snapline"
)

// agentFrozen: an agent that stands still between ARM and CUT for longer than
// Dg (its host is overloaded, or swaps) cannot lower its shield, or end its
// pause; the kernel, and the guard, do it. When the agent wakes up it must not
// cut: the others' marks have gone.
func (f *faults) agentFrozen(t *testing.T) {
	for _, cut := range []snapline.Strategy{snapline.Colour, snapline.Barrier} {
		t.Run(string(cut), func(t *testing.T) {
			host, _ := f.victim(t)
			pid := f.DaemonPID(host)
			t.Cleanup(func() { _ = unix.Kill(pid, unix.SIGCONT) })
			op := f.strike(t, cut, moment{"n2", "armed"}, func() {
				if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
					t.Fatal(err)
				}
			})
			frozen := time.Now()
			f.unharmed(t)
			f.awaitUngatedOn(t, lostLimit, f.others(host)...)
			for left := time.Until(frozen.Add(gateLimit)); left > 0; left = 0 {
				select { // the agent's deadline has to be over when it wakes up
				case <-time.After(left):
				case <-t.Context().Done():
				}
			}
			if err := unix.Kill(pid, unix.SIGCONT); err != nil {
				t.Fatal(err)
			}
			f.awaitUngated(t, 2*time.Second)
			f.aborted(t, op, snapline.CodeFailed)
			f.awaitAgents(t)
			f.recovers(t)
		})
	}
}
