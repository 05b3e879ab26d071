package protocol_test

import (
	"strings"
	"testing"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/protocol"
)

// TestCloneIsIndependent lets two copies of a round that has failed hear of
// further reasons: none may learn of the other's.
func TestCloneIsIndependent(t *testing.T) {
	g := snapline.Group{Name: "g", Members: []snapline.Member{{Name: "n1", Host: "h1"}, {Name: "n2", Host: "h2"}, {Name: "n3", Host: "h3"}}}
	first := protocol.NewCoordinator(protocol.Begin{Group: g, Round: 1, Strategy: snapline.Colour, Post: snapline.PostCodepoint, Deadlines: snapline.DefaultDeadlines()})
	step := func(c *protocol.Coordinator, in protocol.Input) string {
		var said strings.Builder
		for _, e := range c.Step(protocol.Event{At: 1, Input: in}) {
			if end, ok := e.(protocol.End); ok && end.Problem != nil {
				said.WriteString(end.Problem.Error())
			}
		}
		return said.String()
	}
	lost := func(m snapline.MemberName, why string) protocol.Input {
		return protocol.Lost{Member: m, Reason: snapline.Reason{Text: why}}
	}
	step(first, protocol.Started{})
	step(first, lost("n1", "of both"))
	second := first.Clone()
	said := step(second, lost("n2", "of the clone")) + step(second, lost("n3", "of the clone too"))
	own := step(first, lost("n2", "of the first")) + step(first, lost("n3", "of the first too"))
	if strings.Contains(own, "clone") || strings.Contains(said, "first") || !strings.Contains(own, "of both") {
		t.Errorf("the first says %q, its clone %q", own, said)
	}
}
