package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/bpf"
	"github.com/snapline/snapline/lab/topology"
	"github.com/snapline/snapline/node"
)

// wellLimit is how long a site may take until all is well again by itself: leases,
// a restore or two on emulated processors, quarantines, and the pauses between
// attempts, which grow to half a minute.
const wellLimit = 3 * time.Minute

// awaitWell waits for a moment at which everything is as it should be. It says what
// it had to wait for last.
func (s *site) awaitWell(ctx context.Context) (last error, err error) {
	err = await(ctx, wellLimit, func() error {
		err := s.well(ctx)
		if err != nil {
			last = err
		}
		return err
	})
	return last, err
}

// well is one look at what has to be true of a protected group while no operation is
// under way: all agents are there, every member runs where it is said to run and
// nowhere else, its network is open, and nothing is left of anything before.
func (s *site) well(ctx context.Context) error {
	if err := s.online(ctx); err != nil {
		return err
	}
	status, err := s.api.Status(ctx, s.group)
	if err != nil {
		return err
	}
	if p := status.Protection; p == nil {
		return errors.New("the group is not protected")
	} else if p.State != snapline.ProtectionOK {
		return fmt.Errorf("the protection is %s: %v", p.State, p.Reasons)
	}
	if status.Last == "" {
		return errors.New("there is no snapshot")
	}
	for _, m := range status.Members {
		at, err := s.lab.VMHost(string(m.Name)) // an error if it runs twice
		if err != nil {
			return err
		}
		if m.VM != "running" || at != string(m.Host) {
			return fmt.Errorf("member %s is %s on %s, its process on %s: %s", m.Name, m.VM, m.Host, at, m.Text)
		}
	}
	for _, h := range s.lab.Hosts() {
		if err := s.open(ctx, h.Name, status); err != nil {
			return err
		}
		spool, err := os.ReadDir(filepath.Join(s.data(h.Name), "spool"))
		if err != nil {
			return err
		}
		if len(spool) > 0 {
			return fmt.Errorf("in the spool of %s: %v", h.Name, spool)
		}
	}
	// A round that has begun meanwhile explains all of it, so this comes last.
	if err := s.lab.Tidy(isFence); err != nil {
		return err
	}
	return s.idle(ctx)
}

// online wants every agent to be there.
func (s *site) online(ctx context.Context) error {
	hosts, err := s.api.Hosts(ctx)
	if err != nil {
		return err
	}
	n := 0
	for _, h := range hosts {
		if h.Agent == "online" {
			n++
		}
	}
	if n != size {
		return fmt.Errorf("%d of %d agents are online", n, size)
	}
	return nil
}

// idle wants no operation on the group.
func (s *site) idle(ctx context.Context) error {
	status, err := s.api.Status(ctx, s.group)
	if err == nil && status.Operation != "" {
		err = fmt.Errorf("operation %s is under way", status.Operation)
	}
	return err
}

// isFence tells what may stand on a tap between rounds.
func isFence(p topology.Program) bool {
	return strings.HasPrefix(p.Name, "snapfence_") || strings.HasPrefix(p.Name, "snapline-fence")
}

// open wants one fence for each member on a host, not shut, and none for anybody
// else.
func (s *site) open(ctx context.Context, host string, status snapline.GroupStatus) error {
	g, err := bpf.New(bpf.Options{NetNS: s.lab.Place(host).Path()})
	if err != nil {
		return err
	}
	fences, err := g.Standing(ctx)
	defer func() {
		for _, f := range fences {
			f.Close()
		}
	}()
	if err != nil {
		return err
	}
	here := map[snapline.MemberName]int{}
	for _, m := range status.Members {
		if string(m.Host) == host {
			here[m.Name] = 0
		}
	}
	for _, f := range fences {
		m := f.Owner().Member.Name
		n, expected := here[m]
		if !expected || n > 0 {
			return fmt.Errorf("%s has a fence for %s that belongs to nobody", host, m)
		}
		here[m]++
		rules, err := f.Rules()
		if err != nil {
			return err
		}
		if now := (node.BootClock{}).Now(); rules.OpenUntil <= now {
			return fmt.Errorf("the fence of %s on %s has been shut for %v", m, host, now.Sub(rules.OpenUntil))
		}
	}
	for m, n := range here {
		if n == 0 {
			return fmt.Errorf("%s on %s has no fence", m, host)
		}
	}
	return nil
}
