package main

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"
)

// freeze stops a daemon as an overloaded or swapping machine does.
func (s *site) freeze(name string) (cure, error) {
	pid := s.lab.DaemonPID(name)
	if pid == 0 {
		return cure{}, nil
	}
	thaw := func(context.Context) error {
		if s.lab.DaemonPID(name) != pid {
			return nil // killed meanwhile
		}
		return sendTo(pid, unix.SIGCONT)
	}
	return cure{healFreeze, thaw}, sendTo(pid, unix.SIGSTOP)
}

func sendTo(pid int, what unix.Signal) error {
	if err := unix.Kill(pid, what); err != nil && !errors.Is(err, unix.ESRCH) {
		return err
	}
	return nil
}
