package node_test

import (
	"slices"
	"testing"
	"time"

	"github.com/snapline/snapline"
)

// talks reports whether what a host runs of a member reaches its network.
func (s *site) talks(h snapline.HostName, m snapline.MemberName) bool {
	vm := s.cloud.find(h, m)
	if vm == nil || vm.now()[:7] != "running" {
		return false
	}
	passes, _ := s.fences[h].Out("tap-" + string(m))
	return passes
}

// twice reports whether two instances of n2 talk.
func (s *site) twice() bool {
	n := 0
	for h := range s.fences {
		if s.talks(h, "n2") {
			n++
		}
	}
	return n > 1
}

// A lost host comes back, with its member alive, while the group is being restored
// without it. It may look as if nothing had been lost; but the restore goes on.
func TestHostReturnsDuringRecovery(t *testing.T) {
	for _, at := range []string{"plan n1", "resume n3"} {
		t.Run(at, func(t *testing.T) {
			s := newProtected(t, every(time.Hour))
			s.calm()
			release := s.cloud.holdAt(at)
			defer release()
			s.stopA["h2"]()
			s.awaitEvent(snapline.EventRecovering, 0)
			<-s.cloud.heldAt(at)
			s.protect(every(2 * time.Hour)) // its keeper did not begin the restore
			s.startAgent("h2")
			s.waitOnline(3)
			for end := time.After(3 * time.Second); ; {
				select {
				case <-end:
				case <-time.After(time.Millisecond):
					if s.talks("h2", "n2") {
						t.Fatal("n2 on h2 talks, while it is being restored elsewhere")
					}
					continue
				}
				break
			}
			release()
			eventually(t, "n2 restored elsewhere, and only there", func() bool {
				if s.twice() {
					t.Fatal("n2 talks from two hosts")
				}
				return s.cloud.find("h2", "n2") == nil && slices.ContainsFunc(s.members(), func(m snapline.MemberStatus) bool { return m.Name == "n2" && m.Host != "h2" && m.VM == "running" })
			})
			s.calm()
			if n := len(s.snapshots()); n != 1 {
				t.Errorf("%d snapshots", n)
			}
		})
	}
}
