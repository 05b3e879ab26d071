package snapline

import (
	"context"
	"time"
)

// Hypervisor finds, starts and stops the virtual machines of one host. One
// implementation is package qemu. Safe for use from several goroutines.
type Hypervisor interface {
	// Adopt attaches to a running virtual machine that somebody else started.
	// The error names what is wrong with the socket or the process; it is ErrNoVM
	// when there is none. The VM keeps running whatever happens; let go of it with
	// Close.
	Adopt(ctx context.Context, m Member) (VM, error)
	// Reconcile finishes or undoes what an earlier life of this agent has left of
	// disk snapshots. Called once, before anything else. What it cannot finish
	// shows in VM.Problems.
	Reconcile(ctx context.Context) error
	// Plan reports why the machine could not be started here: program, machine
	// type, CPU model, bridges, files, memory, places and space for its disks. It
	// changes nothing.
	Plan(ctx context.Context, m Member, info VMInfo, disks []DiskSnapshot) []Reason
	// Load writes the machine's disks and starts it paused from a captured stream;
	// when it returns the state is loaded, the VM has not run, and no frame reaches
	// its taps before Plug. Should this process die or hang before Resume, the
	// machine is ended. A disk that was there before is kept aside until the VM is
	// let go of: Kill puts it back, Close gives it up. A failed Load leaves no
	// process and no tap behind, and the disks as they were. stream is read to its
	// end and not closed.
	Load(ctx context.Context, m Member, info VMInfo, stream Stream, disks []StoredDisk) (VM, error)
	// Stop ends every living instance of the member on this host at once
	// (SIGKILL) and waits until it is gone. No instance is success. What a snapshot had
	// left of its disks is merged, if it can be. If macs is not nil, a machine is an
	// instance only if it was started with one of these MAC addresses: where the
	// member has no place, another's may be behind a monitor of the same path.
	Stop(ctx context.Context, m Member, macs []string) error
}

// Stream is a captured VM state on its way back into a hypervisor.
type Stream interface {
	Read(p []byte) (int, error)
}

// VM is one virtual machine on this host. Methods may be called from several
// goroutines, but one Capture at a time.
type VM interface {
	Info() VMInfo
	// Status is the run state in the hypervisor's word: "running", "paused", …
	Status(ctx context.Context) (string, error)
	// Problems lists, all at once, why the VM cannot be snapshotted now: not
	// running, writable disks, devices that cannot migrate. NICs are judged by
	// whoever opens the gate.
	Problems(ctx context.Context) []Reason
	// Prime gets everything ready so that the instant itself is short; the VM
	// runs on. Data goes to a new file at spool.
	Prime(ctx context.Context, spool string) (Capture, error)
	// Pause stops the VM until Resume, at most for the given time: then it is
	// resumed without us, also when this process has died or hangs.
	Pause(ctx context.Context, atMost time.Duration) error
	// Plug connects the taps of a machine that Load has started to the network.
	// Plugging twice is no error.
	Plug(ctx context.Context) error
	// Resume lets a paused VM run, and plugs it if nobody has; resuming a running
	// one is no error.
	Resume(ctx context.Context) error
	// Announce makes the guest's addresses known to the network again.
	Announce(ctx context.Context) error
	// Kill ends the process (SIGKILL) and waits until it is gone.
	Kill(ctx context.Context) error
	// Gone is closed when the process or its monitor has gone away.
	Gone() <-chan struct{}
	// Close lets go of the VM, which runs on.
	Close() error
}

// Capture is one local snapshot of a VM: RAM and device state at one instant.
type Capture interface {
	// Cut makes the snapshot. When it returns without an error the instant lies
	// between the call and the return, and nothing that reaches the VM from now
	// on can become part of the snapshot. A VM paused by Pause runs afterwards,
	// unless the method is stop-and-copy: then it runs once Finish returned.
	Cut(ctx context.Context) (CaptureReport, error)
	// Finish waits until the spool holds the whole snapshot. After an error, or
	// Cancel, the VM runs and the spool file is gone.
	Finish(ctx context.Context) (Spooled, error)
	// Cancel gives up. It may be called at any time, more than once, and returns
	// when the VM runs as before and the spool file is gone.
	Cancel()
	// Progress returns how many bytes the spool holds so far. Never blocks.
	Progress() int64
}

// CaptureReport says how the snapshot instant of one VM went.
type CaptureReport struct {
	// Method is "background-snapshot" or "stop-and-copy".
	Method string `json:"method"`
	// Why says why the better method was not used; empty when it was.
	Why string `json:"why,omitempty"`
	// PauseMS is how long the VM was stopped, as the hypervisor reports it. For
	// stop-and-copy it is only known to Finish.
	PauseMS float64 `json:"pause_ms"`
	// Paused and Resumed are when it stood still, on the host's CLOCK_BOOTTIME;
	// zero when the hypervisor does not say.
	Paused  Instant `json:"paused,omitempty"`
	Resumed Instant `json:"resumed,omitempty"`
}

// Spooled is a whole captured stream in a local file.
type Spooled struct {
	Path    string
	Bytes   int64
	PauseMS float64
	// Disks are the VM's writable disks of the same instant. Each must be
	// released, whether it was read or not.
	Disks []FrozenDisk
}

// VMInfo is what must be known to start the machine again, here or elsewhere.
type VMInfo struct {
	Hypervisor string   `json:"hypervisor"` // "qemu"
	Version    string   `json:"version"`    // of the hypervisor
	Exec       string   `json:"exec"`       // absolute path of the program
	Args       []string `json:"args"`       // without the program's name
	Env        []string `json:"env,omitempty"`
	Dir        string   `json:"dir"`
	UID        int      `json:"uid"`
	GID        int      `json:"gid"`
	Machine    string   `json:"machine"` // versioned machine type, pc-q35-7.2
	Accel      string   `json:"accel"`   // kvm, tcg
	RAMBytes   int64    `json:"ram_bytes"`
	VCPUs      int      `json:"vcpus"`
	NICs       []NIC    `json:"nics"`
}
