package e2e

import (
	"context"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/qemu/qmp"
)

// status asks a VM's monitor how it is. The monitor has room for one client:
// while an agent holds it, this is an error.
func status(ctx context.Context, socket string) (qmp.Status, error) {
	c, err := qmp.Dial(ctx, socket)
	if err != nil {
		return qmp.Status{}, err
	}
	defer c.Close()
	return qmp.Run(ctx, c, qmp.QueryStatus{})
}

// awaitRunning waits until a VM's monitor is free and says that it runs.
func awaitRunning(t *testing.T, limit time.Duration, socket string) {
	t.Helper()
	await(t, limit, "vm at "+socket+" runs", func(ctx context.Context) error {
		st, err := status(ctx, socket)
		if err == nil && !st.Running {
			err = fmt.Errorf("it is %s", st.Status)
		}
		return err
	})
}

// pids are the lab's virtual machines' processes, by name.
func (s *site) pids(t *testing.T) map[string]int {
	t.Helper()
	all := map[string]int{}
	for _, v := range s.VMs() {
		pid, err := s.VMPid(v.Name)
		if err != nil {
			t.Fatal(err)
		}
		all[v.Name] = pid
	}
	return all
}

// untouched fails the test when the VMs are not the processes that they were.
func (s *site) untouched(t *testing.T, before map[string]int) {
	t.Helper()
	if now := s.pids(t); !maps.Equal(now, before) {
		t.Errorf("processes of the virtual machines: %v, before %v", now, before)
	}
}

// killVMs ends every virtual machine of the lab at once.
func (s *site) killVMs(t *testing.T) {
	t.Helper()
	for _, v := range s.VMs() {
		if err := s.KillVM(t.Context(), v.Name); err != nil {
			t.Fatal(err)
		}
	}
}

// tidy checks what has to be true whenever no round is under way, and nothing is
// protected: lab.Tidy, without any eBPF program.
func (s *site) tidy(t *testing.T) {
	t.Helper()
	if t.Failed() {
		return
	}
	// A quarantine that is running ends first.
	limit := 3*time.Second + snapline.DefaultQuarantine + 2*time.Second
	await(t, limit, "the site is tidy", func(context.Context) error { return s.Tidy(nil) })
}
