package qemu

import "time"

// SetLazy makes h leave the touching of all memory to the cut.
func SetLazy(h *Hypervisor, lazy bool) { h.lazy = lazy }

// SetPatience sets how long a capture of h may stand still.
func SetPatience(h *Hypervisor, d time.Duration) { h.patience = d }

// SetKeeperTime sets how long this process may hang while h loads a machine.
func SetKeeperTime(h *Hypervisor, d time.Duration) { h.keeperTime = d }

// Boots runs the probe's guest.
var Boots = boots

// InNamespace runs f in a thread inside a network namespace.
func InNamespace(name string, f func() error) error {
	ns, err := newNamespace(name)
	if err != nil {
		return err
	}
	return ns.do(f)
}
