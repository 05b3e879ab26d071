package node_test

import (
	"context"
	"testing"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/api/apitest"
)

// TestConformance holds the coordinator to what the API promises its users.
func TestConformance(t *testing.T) {
	apitest.Conformance(t, func(t *testing.T, held bool) apitest.Subject {
		s := newBareSite(t)
		subject := apitest.Subject{Service: s.c, Group: s.group(), Elsewhere: map[snapline.MemberName]snapline.HostName{"n1": "h2", "n2": "h1"}}
		if held {
			release := s.cloud.holdAt("finish n1")
			t.Cleanup(release)
			subject.Hold = func(ctx context.Context) snapline.OperationID {
				<-s.cloud.heldAt("finish n1")
				st, err := s.c.Status(ctx, "g")
				if err != nil {
					t.Fatal(err)
				}
				return st.Operation
			}
			subject.Release = func(context.Context) { release() }
		}
		return subject
	})
}
