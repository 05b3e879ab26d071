package node_test

import (
	"testing"
	"time"

	"github.com/snapline/snapline"
)

// TestLeaderFailsInRecovery: the next one goes on without the host that is lost,
// and brings the group back once: not a second time, when it runs already.
func TestLeaderFailsInRecovery(t *testing.T) {
	for _, at := range restoreMoments {
		bothWays(t, at.name, func(t *testing.T, c *cluster, strike, wake func(*process)) {
			c.protect(every(time.Hour))
			c.calm()
			c.goOn()
			old := c.lead(nil)
			struck := c.at(at.reached(), strike)
			c.stopA["h2"]()
			<-struck
			began := time.Now()
			c.lead(old)
			eventuallyWithin(t, time.Minute, "the group on the hosts that remain", func() bool {
				if c.twice() {
					t.Fatal("n2 talks from two hosts")
				}
				return c.protection().State == snapline.ProtectionOK && c.whole()
			})
			t.Logf("after %v", time.Since(began))
			for _, m := range c.members() {
				vm := c.cloud.find(m.Host, m.Name)
				vm.mu.Lock()
				vm.state = "after the recovery"
				vm.mu.Unlock()
			}
			wake(old)
			time.Sleep(3 * time.Minute) // virtual: for whoever would try it again
			if !c.whole() {
				t.Fatal("the group does not run")
			}
			for _, m := range c.members() {
				if got := c.cloud.find(m.Host, m.Name).now(); got != "running, after the recovery" {
					t.Errorf("%s was restored a second time: %s", m.Name, got)
				}
			}
			c.startAgent("h2")
			eventually(t, "the zombie's end", func() bool { return c.cloud.find("h2", "n2") == nil })
			c.calm()
		})
	}
}

// whole reports whether all members run, none of them on h2.
func (c *cluster) whole() bool {
	for _, m := range c.members() {
		if m.Host == "h2" || m.VM != "running" {
			return false
		}
	}
	return true
}
