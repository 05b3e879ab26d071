package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/snapline/snapline"
)

// finish looks at what can only be seen at the end: without its protection a group
// keeps no program on any tap, the repository is whole, and without snapshots it is
// empty.
func (s *site) finish(ctx context.Context, check workloadCheck, r *groupReport) {
	for _, c := range []struct {
		name string
		look func(context.Context) error
	}{
		{"unprotected", s.unprotected},
		{"repository", s.repositoryWhole},
		{"packs", s.repositoryEmpty},
	} {
		if err := c.look(ctx); err != nil {
			if ctx.Err() == nil {
				r.violate(0, c.name, err)
			}
			return
		}
		r.Checks[c.name]++
	}
	text, err := check.look(ctx)
	if err != nil {
		r.violate(0, "workload", err)
		return
	}
	r.Checks["workload"]++
	s.say("at the end: %s; no program on any tap, no pack in the repository", text)
}

func (s *site) unprotected(ctx context.Context) error {
	// A recovery of its own, or a snapshot, may be under way.
	if err := await(ctx, wellLimit, func() error { return s.api.Unprotect(ctx, s.group) }); err != nil {
		return err
	}
	return await(ctx, time.Minute, func() error {
		if err := s.idle(ctx); err != nil {
			return err
		}
		return s.lab.Tidy(nil)
	})
}

func (s *site) repositoryWhole(ctx context.Context) error {
	at, key := s.lab.Repository()
	return s.run(ctx, "repo", "check", "--deep", "--repo", at, "--key-file", key)
}

func (s *site) repositoryEmpty(ctx context.Context) error {
	all, err := s.api.Snapshots(ctx, s.group)
	if err != nil {
		return err
	}
	for _, one := range all {
		if err := s.api.Delete(ctx, one.ID); err != nil {
			return err
		}
	}
	if err := s.prune(ctx, snapline.PruneRequest{}); err != nil {
		return err
	}
	left, err := filepath.Glob(filepath.Join(s.repository, "packs", "*", "*"))
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("%d packs are left without any snapshot: %v", len(left), left)
	}
	return err
}

// prune frees what deleted snapshots have left.
func (s *site) prune(ctx context.Context, r snapline.PruneRequest) error {
	op, err := s.api.Prune(ctx, r)
	if err != nil {
		return err
	}
	return await(ctx, 5*time.Minute, func() error {
		o, err := s.api.Operation(ctx, op.ID)
		if err == nil && o.State == "failed" {
			err = o.Error
		} else if err == nil && o.State != "done" {
			err = fmt.Errorf("%s is %s", op.ID, o.State)
		}
		return err
	})
}
