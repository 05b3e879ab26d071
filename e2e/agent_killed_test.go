package e2e

import (
	"testing"
	"time"

	"github.com/snapline/snapline"
)

// agentKilled: an agent that dies takes its gate with it and leaves its VM
// running; the round is aborted everywhere.
func (f *faults) agentKilled(t *testing.T, cut snapline.Strategy) {
	for _, p := range phases {
		if p.cut != cut {
			continue
		}
		ok := t.Run(p.name, func(t *testing.T) {
			host, monitor := f.victim(t)
			op := f.strike(t, p.cut, p.at, func() { f.kill(t, host) })
			f.awaitUngatedOn(t, time.Second, host)
			f.unharmed(t)
			awaitRunning(t, gateLimit, monitor)
			took := f.awaitUngated(t, lostLimit)
			t.Logf("no gate anywhere %v later", took.Round(time.Millisecond))
			code := snapline.CodeFailed
			if p.name == "prepare" {
				code = snapline.CodeRefused // nothing had been touched
			}
			f.blames(t, f.aborted(t, op, code), "n2", host)
			f.restartAgent(t, host)
			f.recovers(t)
			f.tidy(t)
		})
		if !ok {
			t.FailNow()
		}
	}
}

// blames checks that a problem names a member and its host.
func (f *faults) blames(t *testing.T, problem *snapline.Error, member snapline.MemberName, host string) {
	t.Helper()
	for _, r := range problem.Reasons {
		if r.Member == member && string(r.Host) == host {
			return
		}
	}
	t.Errorf("%s on %s is not among the reasons: %v", member, host, problem)
}
