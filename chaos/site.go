package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/api"
	"github.com/snapline/snapline/lab"
)

// Room of the file systems that are filled up: enough while they are not.
const (
	spoolRoom      = 1536 << 20
	repositoryRoom = 6 << 30
)

// keep is how many of the protection's snapshots stay.
const keep = 3

// site is one protected group in a lab of its own.
type site struct {
	name    string // the lab's
	program string
	say     func(format string, args ...any)

	lab        *lab.Lab
	api        *api.Client
	group      snapline.GroupName
	repository string // a file system of its own
	watch      *watch
}

// storeRoot holds the repositories, which are there before their labs.
const storeRoot = "/run/snapline-chaos"

// newSite brings a lab up, with its repository and its agents' data on file systems
// that can be filled up, and protects the group.
func newSite(ctx context.Context, o options, workload lab.Workload, say func(string, ...any)) (_ *site, err error) {
	s := &site{name: o.name + "-" + string(workload), program: o.program, group: snapline.GroupName(workload), say: say}
	if err := s.clear(ctx); err != nil { // what a run that was killed has left
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.clear(context.WithoutCancel(ctx)))
		}
	}()
	s.repository = filepath.Join(storeRoot, s.name, "repository")
	key := filepath.Join(storeRoot, s.name, "key")
	if err := os.MkdirAll(s.repository, 0o755); err != nil {
		return nil, err
	}
	if err := mount(s.repository, repositoryRoom); err != nil {
		return nil, err
	}
	if err := s.run(ctx, "repo", "init", "--repo", s.repository, "--key-file", key); err != nil {
		return nil, err
	}
	lo := lab.Options{Name: s.name, Hosts: size, Workload: workload, MemMB: o.memory, Snapline: o.program, Guest: o.guest,
		Repository: s.repository, KeyFile: key}
	if workload == lab.Bank {
		lo.DiskMB = 64 // so that disks are part of it
	}
	if s.lab, err = lab.Up(ctx, lo, func(text string) { say("%s", text) }); err != nil {
		return nil, err
	}
	if s.api, err = api.NewClient(s.lab.Server()); err != nil {
		return nil, err
	}
	for _, h := range s.lab.Hosts() {
		if err := s.mountData(ctx, h.Name); err != nil {
			return nil, fmt.Errorf("give %s a file system of its own: %w", h.Name, err)
		}
	}
	if err := await(ctx, time.Minute, func() error { return s.online(ctx) }); err != nil {
		return nil, err
	}
	return s, s.protect(ctx, o.every)
}

func (s *site) protect(ctx context.Context, every time.Duration) error {
	g := snapline.Group{Name: s.group}
	for _, vm := range s.lab.VMs() {
		g.Members = append(g.Members, snapline.Member{Name: snapline.MemberName(vm.Name), Host: snapline.HostName(vm.Host), QEMU: &snapline.QEMU{QMP: vm.QMP}})
	}
	if _, err := s.api.Apply(ctx, g); err != nil {
		return err
	}
	s.watch = newWatch(s.api)
	_, err := s.api.Protect(ctx, snapline.ProtectRequest{Group: s.group, EveryMS: float64(every.Milliseconds()), Keep: snapline.KeepPolicy{Last: keep}})
	return err
}

// data is where a host's agent keeps captures and journals.
func (s *site) data(host string) string { return filepath.Join(s.lab.Dir, host) }

// mountData moves what a host's agent keeps to a file system of its own.
func (s *site) mountData(ctx context.Context, host string) error {
	if err := s.lab.KillDaemon(ctx, host); err != nil {
		return err
	}
	at, before := s.data(host), s.data(host)+".before"
	if err := os.Rename(at, before); err != nil {
		return err
	}
	if err := os.Mkdir(at, 0o700); err != nil {
		return err
	}
	if err := mount(at, spoolRoom); err != nil {
		return err
	}
	if out, err := exec.CommandContext(ctx, "cp", "-a", before+"/.", at).CombinedOutput(); err != nil {
		return fmt.Errorf("cp: %w: %s", err, out)
	}
	if err := os.RemoveAll(before); err != nil {
		return err
	}
	return s.lab.StartAgent(host)
}

// run runs one of the program's commands.
func (s *site) run(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, s.program, args...)
	if s.lab != nil {
		cmd.Env = append(os.Environ(), "SNAPLINE_SERVER="+s.lab.Server())
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("snapline %s: %w: %s", args[0], err, out)
	}
	return nil
}

// clear takes away everything of the site, also what an earlier run has left, and
// looks whether it is gone.
func (s *site) clear(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if s.api != nil {
		s.api.Close()
	}
	entry := filepath.Join(lab.DefaultRoot, s.name)
	if dir, err := filepath.EvalSymlinks(entry); err == nil {
		entry = dir
	}
	store := filepath.Join(storeRoot, s.name)
	// The file systems go when the last who has a file open there has ended.
	err := errors.Join(unmountBelow(entry), unmountBelow(store))
	err = errors.Join(err, lab.Down(ctx, s.name))
	if err != nil {
		return err
	}
	if err := os.RemoveAll(store); err != nil {
		return err
	}
	_ = os.Remove(storeRoot) // another run may have a folder there
	left, err := lab.Leftovers(s.name)
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("left behind: %v", left)
	}
	return err
}

// await tries until it succeeds, and returns the last error when the time is over.
func await(ctx context.Context, limit time.Duration, try func() error) error {
	late := time.After(limit)
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-late:
			return fmt.Errorf("not within %v: %w", limit, err)
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// wait lets time pass.
func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
