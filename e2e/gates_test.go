package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// ungated reports whether no program is attached on any of the hosts.
func (s *site) ungated(hosts ...string) error {
	for _, h := range hosts {
		found, err := s.Place(h).Programs()
		if err != nil {
			return err
		}
		if len(found) > 0 {
			return fmt.Errorf("on %s: %v", h, found)
		}
	}
	return nil
}

// awaitUngated waits until no host has a gate any more.
func (s *site) awaitUngated(t *testing.T, limit time.Duration) time.Duration {
	t.Helper()
	return await(t, limit, "no gate on any host", func(context.Context) error { return s.ungated(s.hostNames()...) })
}

func (s *site) hostNames() []string {
	var names []string
	for _, h := range s.Hosts() {
		names = append(names, h.Name)
	}
	return names
}
