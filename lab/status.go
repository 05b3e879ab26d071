package lab

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/snapline/snapline/lab/topology"
)

// Status is a lab as it is now.
type Status struct {
	Name     string         `json:"name"`
	State    string         `json:"state"` // starting (or its Up was killed), up
	Created  time.Time      `json:"created"`
	Dir      string         `json:"dir"`
	Workload Workload       `json:"workload"`
	Server   string         `json:"server"` // for --server
	Group    string         `json:"group"`  // path of the group file
	Hosts    []Host         `json:"hosts"`
	Daemons  []DaemonStatus `json:"daemons"`
	VMs      []VMStatus     `json:"vms"`
	// Problem is why the workload is not healthy; empty when it is.
	Problem string `json:"problem,omitempty"`
}

// DaemonStatus is the coordinator or an agent; PID is 0 when it does not run.
type DaemonStatus struct {
	Name string `json:"name"`
	PID  int    `json:"pid"`
}

// VMStatus is where a virtual machine runs now; Host is empty and PID 0 when
// it does not.
type VMStatus struct {
	Name    string `json:"name"`
	Host    string `json:"host"`
	PID     int    `json:"pid"`
	Address string `json:"address"`
}

// Status looks at the lab's processes and tries the workload once, for at most
// five seconds.
func (l *Lab) Status(ctx context.Context) (Status, error) {
	s := read(l, func(r *record) Status {
		return Status{Name: l.Name, State: r.State, Created: r.Created, Dir: l.Dir, Workload: r.Workload, Hosts: r.Hosts}
	})
	s.Server, s.Group = l.Server(), l.GroupFile()
	for _, name := range read(l, (*record).daemonNames) {
		s.Daemons = append(s.Daemons, DaemonStatus{name, l.DaemonPID(name)})
	}
	for _, v := range l.VMs() {
		st := VMStatus{Name: v.Name, Address: v.Address}
		p, err := l.vmProcess(v.Name)
		switch {
		case err == nil:
			st.PID, st.Host = p.PID, l.hostOf(p.Namespace)
		case !errors.Is(err, ErrNoVM):
			return Status{}, err
		}
		s.VMs = append(s.VMs, st)
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	try, done := l.probe()
	defer done()
	if err := try(ctx); err != nil {
		s.Problem = err.Error()
	}
	return s, nil
}

func (r *record) daemonNames() []string {
	var names []string
	for name := range r.Daemons {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (l *Lab) hostOf(ns topology.Namespace) string {
	for _, h := range l.Hosts() {
		if h.Namespace == string(ns) {
			return h.Name
		}
	}
	return ""
}
