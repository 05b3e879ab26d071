package main

import "context"

// coordinator is its name among the lab's daemons.
const coordinator = "coordinator"

func (s *site) killDaemon(ctx context.Context, name string) (cure, error) {
	return s.revive(name), s.lab.KillDaemon(ctx, name)
}

// killHost ends the host's agent and machines. Its agent comes back, as after a
// reboot.
func (s *site) killHost(ctx context.Context, host string) (cure, error) {
	return s.revive(host), s.lab.KillHost(ctx, host)
}

func (s *site) revive(name string) cure {
	return cure{healDeath, func(ctx context.Context) error {
		if s.lab.DaemonAlive(name) { // it was killed twice
			return nil
		}
		if name == coordinator {
			return s.lab.StartCoordinator(ctx)
		}
		return s.lab.StartAgent(name)
	}}
}
