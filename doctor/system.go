package doctor

import "context"

// System is the host that is examined. Methods may be called from several
// goroutines; those named Try do the thing itself, on something that they make
// for it.
type System interface {
	UID() int
	// Kernel is its release, "6.1.0-18-amd64".
	Kernel() (string, error)
	TryRingBuffer() error
	// TryGate attaches a gate by tcx, or by clsact.
	TryGate(clsact bool) error
	// NotSupported reports whether such an error says that the kernel does not
	// have it, rather than that somebody forbids it.
	NotSupported(error) bool
	TryUserfaultfd() error
	// UnprivilegedUserfaultfd reports whether processes of other users than root
	// may use it for the whole of their memory.
	UnprivilegedUserfaultfd() bool
	TryQEMU(ctx context.Context) (QEMU, error)
	Bridges() ([]Bridge, error)
	Clock() (Clock, error)
	// Free is how much the file system of the nearest existing folder can take,
	// in bytes; memory, how much this host has.
	Free(path string) (free, memory int64, err error)
	// Pressure reads how long tasks have waited (PSI).
	Pressure() error
}

// QEMU is what the host's QEMU program can do.
type QEMU struct {
	Version    string
	Background error  // nil: it can snapshot a running machine
	Thaw       error  // nil: a broken-off snapshot can be undone from outside
	Accel      string // kvm, tcg
	AccelErr   error
}

// Bridge is one of the host's bridges.
type Bridge struct {
	Name         string
	Up           bool
	Taps, Others int // ports: virtual machines' taps, and the rest
}

// Clock is how the kernel's clock is driven.
type Clock struct {
	Source string  // tsc, kvm-clock, …
	PPM    float64 // how much faster than its source it is made to run
}
