package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/snapline/snapline/lab/topology"
)

// VM is one virtual machine of the lab, as it was first started.
type VM struct {
	Name    string `json:"name"`
	Host    string `json:"host"` // where it was started; a restore may move it
	Address string `json:"address"`
	MAC     string `json:"mac"`
	MemMB   int    `json:"mem_mb"`
	QMP     string `json:"qmp"`            // the monitor's unix socket
	Console string `json:"console"`        // what the guest's serial line said
	Script  string `json:"script"`         // starts it, in its host's namespace
	Disk    string `json:"disk,omitempty"` // its data disk, where it was at first; a restore may move it
}

// ErrNoVM says that a virtual machine does not run.
var ErrNoVM = errors.New("virtual machine is not running")

// VM returns the virtual machine of that name.
func (l *Lab) VM(name string) (VM, error) {
	for _, v := range l.VMs() {
		if v.Name == name {
			return v, nil
		}
	}
	return VM{}, fmt.Errorf("lab %s has no virtual machine %s", l.Name, name)
}

// StartVM runs the virtual machine's script on a host and waits until its QMP
// socket is there. Error if the machine runs anywhere in the lab.
func (l *Lab) StartVM(ctx context.Context, name, host string) error {
	v, err := l.VM(name)
	if err != nil {
		return err
	}
	if running, err := l.processesOf(v); err != nil || len(running) > 0 {
		return errors.Join(err, fmt.Errorf("start vm %s: it runs already", name))
	}
	if err := os.Remove(v.QMP); err != nil && !os.IsNotExist(err) {
		return err
	}
	log := l.path("log", name+".log")
	id, err := detach(l.Place(host), log, nil, "sh", v.Script)
	if err != nil {
		return fmt.Errorf("start vm %s: %w", name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	err = await(ctx, 20*time.Millisecond, func() error {
		if !id.alive() {
			cancel()
			return errors.New("qemu has ended")
		}
		_, err := os.Stat(v.QMP)
		return err
	})
	if err != nil {
		return fmt.Errorf("start vm %s: %w; %s", name, err, tail(log))
	}
	return nil
}

// processesOf finds a virtual machine's processes on all hosts by the QMP path
// on their command line, whoever started them.
func (l *Lab) processesOf(v VM) ([]topology.Process, error) {
	all, err := topology.Processes(l.Name)
	if err != nil {
		return nil, err
	}
	var found []topology.Process
	for _, p := range all {
		if !strings.HasPrefix(filepath.Base(p.Args[0]), "qemu-system-") {
			continue
		}
		for _, a := range p.Args[1:] {
			if strings.Contains(a, v.QMP) {
				found = append(found, p)
				break
			}
		}
	}
	return found, nil
}

// VMPid is the process of a virtual machine, wherever in the lab it runs now
// and whoever started it. ErrNoVM when there is none.
func (l *Lab) VMPid(name string) (int, error) {
	p, err := l.vmProcess(name)
	return p.PID, err
}

// VMHost is the host on which a virtual machine runs now. ErrNoVM when it
// runs nowhere.
func (l *Lab) VMHost(name string) (string, error) {
	p, err := l.vmProcess(name)
	if err != nil {
		return "", err
	}
	return l.hostOf(p.Namespace), nil
}

func (l *Lab) vmProcess(name string) (topology.Process, error) {
	v, err := l.VM(name)
	if err != nil {
		return topology.Process{}, err
	}
	found, err := l.processesOf(v)
	switch {
	case err != nil:
		return topology.Process{}, err
	case len(found) == 0:
		return topology.Process{}, fmt.Errorf("vm %s: %w", name, ErrNoVM)
	case len(found) > 1:
		return topology.Process{}, fmt.Errorf("vm %s runs %d times: pids %d and %d", name, len(found), found[0].PID, found[1].PID)
	}
	return found[0], nil
}

// KillVM ends every living instance of a virtual machine by SIGKILL and waits
// until it is gone. None is success.
func (l *Lab) KillVM(ctx context.Context, name string) error {
	v, err := l.VM(name)
	if err != nil {
		return err
	}
	found, err := l.processesOf(v)
	if err != nil {
		return err
	}
	for _, p := range found {
		if err := p.Kill(ctx); err != nil {
			return fmt.Errorf("kill vm %s: %w", name, err)
		}
	}
	return nil
}
