package qemu

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/qemu/disk"
)

// Options say how one host's virtual machines are handled.
type Options struct {
	// NetNS is the network namespace of this host: a name as of "ip netns", a
	// path, or empty for this process's own. Machines of other namespaces are
	// refused, and new ones are born in it.
	NetNS string
	// Bridges maps the bridge that a machine was captured on to the one that it
	// is attached to here. Bridges that are not named keep their names.
	Bridges map[string]string
	// DiskDirs maps directories where the disks of captured machines were to the
	// ones that they go to here, with all that is below. Of several that fit the
	// longest counts; paths below none stay as they are. All are absolute.
	DiskDirs map[string]string
	// LogDir gets one file per started machine with what QEMU prints. Empty: the
	// file is beside the QMP socket.
	LogDir string
	// GuardCommand runs Guard in a process of its own. Empty: this program with
	// the argument "guard".
	GuardCommand []string
	// ForceStopAndCopy says why background snapshots are not to be used; empty
	// leaves the choice to the adapter.
	ForceStopAndCopy string
	// StateDir is needed, and must survive a reboot: what is known of disks that
	// are being captured or restored is there. One process at a time may use it.
	StateDir string
}

// Hypervisor adopts, captures, starts and stops QEMU processes of one host.
type Hypervisor struct {
	opts Options
	ns   namespace
	// lazy leaves the prefault to the cut, as on newer QEMUs; for measurements.
	lazy bool
	// patience is how long a capture may stand still.
	patience time.Duration
	// keeperTime is how long we may hang while a machine is being loaded.
	keeperTime time.Duration

	disks *disk.Store
	dirs  diskDirs

	mu     sync.Mutex
	accels map[string]string // what ProbeAccel has found, by program
}

var _ snapline.Hypervisor = (*Hypervisor)(nil)

// New checks the options. It starts nothing.
func New(o Options) (*Hypervisor, error) {
	if o.StateDir == "" {
		return nil, errors.New("no state directory given: it must survive a reboot, or disks that are being captured could be lost")
	}
	if len(o.GuardCommand) == 0 {
		o.GuardCommand = []string{"/proc/self/exe", "guard"}
	}
	if o.LogDir != "" {
		abs, err := filepath.Abs(o.LogDir)
		if err != nil {
			return nil, fmt.Errorf("log directory %s: %w", o.LogDir, err)
		}
		if err := os.MkdirAll(abs, 0o755); err != nil {
			return nil, fmt.Errorf("log directory: %w", err)
		}
		o.LogDir = abs
	}
	ns, err := newNamespace(o.NetNS)
	if err != nil {
		return nil, err
	}
	h := &Hypervisor{opts: o, ns: ns, patience: patience, keeperTime: keeperTime, accels: map[string]string{}}
	if h.dirs, err = newDiskDirs(o.DiskDirs); err != nil {
		return nil, err
	}
	state, err := filepath.Abs(o.StateDir)
	if err != nil {
		return nil, fmt.Errorf("state directory %s: %w", o.StateDir, err)
	}
	if h.disks, err = disk.Open(filepath.Join(state, "disks")); err != nil {
		return nil, err
	}
	return h, nil
}

// bridge is the local bridge for one that a machine was captured on.
func (h *Hypervisor) bridge(captured string) string {
	if local, ok := h.opts.Bridges[captured]; ok {
		return local
	}
	return captured
}
