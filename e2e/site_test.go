package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/api"
	"github.com/snapline/snapline/lab"
	"github.com/snapline/snapline/lab/topology"
)

// site is a lab and a client of its coordinator.
type site struct {
	*lab.Lab
	api   *api.Client
	group snapline.GroupName
}

// newSite brings a lab up that goes with the test, and sees to it that nothing
// of it is left then.
func newSite(t *testing.T, o lab.Options) *site {
	t.Helper()
	if testing.Short() {
		t.Skip("boots virtual machines")
	}
	prerequisites(t)
	o.Name = fmt.Sprintf("e%d-%x", os.Getpid(), time.Now().UnixNano()&0xffff)
	if o.Snapline == "" {
		o.Snapline = snaplineProgram()
	}
	o.Guest = guestProgram()
	t.Cleanup(func() {
		if err := lab.Down(context.Background(), o.Name); err != nil {
			t.Error(err)
		}
		if left, err := lab.Leftovers(o.Name); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v %v", left, err)
		}
	})
	start := time.Now()
	l, err := lab.Up(t.Context(), o, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("lab %s is up after %.1f s", l.Name, time.Since(start).Seconds())
	c, err := api.NewClient(l.Server())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	s := &site{Lab: l, api: c, group: snapline.GroupName(l.Workload())}
	t.Cleanup(func() { s.showLogs(t) })
	s.awaitAgents(t)
	return s
}

// prerequisites fails, with what to do about it, where this machine lacks what
// every machine that runs these tests can have.
func prerequisites(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("a lab makes network namespaces: run as root")
	}
	for _, tool := range []string{"ip", "nsenter", "qemu-system-x86_64", "qemu-img"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%v: run: make deps", err)
		}
	}
}

// showLogs prints who runs and the ends of the daemons' logs when the test has
// failed.
func (s *site) showLogs(t *testing.T) {
	if !t.Failed() {
		return
	}
	if all, err := topology.Processes(s.Name); err == nil {
		for _, p := range all {
			t.Logf("process %d in %s: %.150s", p.PID, p.Namespace, p)
		}
	}
	names := []string{"coordinator"}
	for _, h := range s.Hosts() {
		names = append(names, h.Name)
	}
	for _, name := range names {
		if data, err := os.ReadFile(s.Log(name)); err == nil {
			t.Logf("log of %s:\n%s", name, data[max(0, len(data)-4000):])
		}
	}
}

// awaitAgents waits until every host's agent is online, in its present life.
func (s *site) awaitAgents(t *testing.T) {
	t.Helper()
	await(t, 20*time.Second, "all agents online", func(ctx context.Context) error {
		hosts, err := s.api.Hosts(ctx)
		if err != nil {
			return err
		}
		online := 0
		for _, h := range hosts {
			if h.Agent == "online" {
				online++
			}
		}
		if online != len(s.Hosts()) {
			return fmt.Errorf("%d of %d agents are online: %+v", online, len(s.Hosts()), hosts)
		}
		return nil
	})
}

// restartAgent starts a host's agent that was killed, with further flags if there
// are some, and waits for its new life.
func (s *site) restartAgent(t *testing.T, host string, flags ...string) {
	t.Helper()
	before := s.incarnation(t, host)
	if err := s.StartAgent(host, flags...); err != nil {
		t.Fatal(err)
	}
	await(t, 20*time.Second, "new life of the agent of "+host, func(context.Context) error {
		if s.incarnation(t, host) == before {
			return errors.New("it has not said hello")
		}
		return nil
	})
	s.awaitAgents(t)
}

func (s *site) incarnation(t *testing.T, host string) snapline.Incarnation {
	t.Helper()
	hosts, err := s.api.Hosts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range hosts {
		if string(h.Name) == host {
			return h.Incarnation
		}
	}
	return ""
}

// await polls until try succeeds; the test fails with its last error when the
// time is over.
func await(t *testing.T, limit time.Duration, what string, try func(context.Context) error) time.Duration {
	t.Helper()
	start := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		err := try(ctx)
		if err == nil {
			return time.Since(start)
		}
		if ctx.Err() == nil || last == nil { // what is wrong, not that time is over
			last = err
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not within %v: %v", what, limit, last)
		case <-tick.C:
		}
	}
}
