package bpf

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
)

// Mode is how the kernel holds a gate's programs.
type Mode string

const (
	TCX    Mode = "tcx"    // by links that end with this process; Linux 6.6
	Clsact Mode = "clsact" // by tc filters, which outlive this process
)

// attachment is a tap with the gate's programs on it.
type attachment interface {
	// detach takes them off. A tap that is gone is no error.
	detach() error
}

// attach puts the programs on every port or on none. It must run in the ports'
// network namespace.
//
// Only a kernel without tcx is a reason for clsact. Where tcx exists, tcx
// programs run before clsact filters and can carry packets around them.
func attach(objs *gateObjects, ports []port, forceClsact bool) ([]attachment, Mode, error) {
	mode := TCX
	if forceClsact {
		mode = Clsact
	}
	var ties []attachment
	for _, p := range ports {
		tie, err := attachPort(objs, p, mode)
		if mode == TCX && len(ties) == 0 && errors.Is(err, ebpf.ErrNotSupported) {
			mode = Clsact
			tie, err = attachPort(objs, p, mode)
		}
		if err != nil {
			err = fmt.Errorf("attach gate to NIC %s (%s): %w", p.nic.ID, p.nic.Tap, err)
			return nil, "", errors.Join(err, detachAll(ties))
		}
		ties = append(ties, tie)
	}
	return ties, mode, nil
}

func attachPort(objs *gateObjects, p port, mode Mode) (attachment, error) {
	if mode == TCX {
		return attachTCX(objs, p.index)
	}
	return attachClsact(objs, p.index)
}

func detachAll(ties []attachment) error {
	var errs []error
	for _, t := range ties {
		errs = append(errs, t.detach())
	}
	return errors.Join(errs...)
}
