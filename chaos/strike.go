package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/snapline/snapline/lab/topology"
)

// cure takes a fault back. Those of one step are taken back in the order of their
// ranks: who is started again needs a network, and room.
type cure struct {
	rank int
	heal func(context.Context) error
}

const (
	healDisk = iota
	healFreeze
	healCut
	healDeath
)

// strike lets a fault happen. A fault that finds nobody to happen to is none, and
// not an error.
func (s *site) strike(ctx context.Context, f fault) (cure, error) {
	host := topology.HostName(f.Target + 1)
	switch f.Kind {
	case killVM:
		return cure{}, s.lab.KillVM(ctx, fmt.Sprintf("n%d", f.Target+1))
	case killAgent:
		return s.killDaemon(ctx, host)
	case killCoordinator:
		return s.killDaemon(ctx, coordinator)
	case killHost:
		return s.killHost(ctx, host)
	case freezeAgent:
		return s.freeze(host)
	case freezeCoordinator:
		return s.freeze(coordinator)
	case cutHost:
		return s.unplug(host)
	case cutControl:
		return s.cutControl(host)
	case fillSpool:
		return fill(s.data(host), spoolRoom)
	case fillRepository:
		return fill(s.repository, repositoryRoom)
	}
	panic("chaos: unknown fault " + f.Kind)
}

// heal takes back what was done.
func heal(ctx context.Context, cures []cure) error {
	slices.SortStableFunc(cures, func(a, b cure) int { return a.rank - b.rank })
	for _, c := range cures {
		if c.heal != nil {
			if err := c.heal(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}
