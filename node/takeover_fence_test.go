package node_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/snapline/snapline"
)

// TestTakeoverKeepsFences: who takes over answers agents before it has begun to
// work. It must not take a protected group for one that is not: a fence that was
// lifted meanwhile is not there when its host is lost in the next moment.
func TestTakeoverKeepsFences(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, end := newCluster(t)
		defer end()
		c.protect(every(time.Hour))
		c.calm()
		old := c.lead(nil)
		stop := make(chan struct{})
		defer close(stop)
		lifted := make(chan snapline.HostName, 1)
		go func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Millisecond):
				}
				for h, f := range c.fences {
					all, err := f.Standing(t.Context())
					if err == nil && len(all) == 1 {
						if r, err := all[0].Rules(); err == nil && r.Leased() {
							continue
						}
					}
					select {
					case lifted <- h:
					default:
					}
				}
			}
		}()
		old.kill()
		c.lead(old)
		c.calm()
		select {
		case h := <-lifted:
			t.Errorf("the fence on %s was lifted by the new leader", h)
		default:
		}
	})
}
