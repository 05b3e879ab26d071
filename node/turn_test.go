package node

import (
	"testing"

	"github.com/snapline/snapline/protocol"
)

func TestTurn(t *testing.T) {
	var turn turn
	must := func(err error, ok bool) {
		t.Helper()
		if (err == nil) != ok {
			t.Fatalf("%v", err)
		}
	}
	must(turn.begin("a", protocol.RestoreUndo), true) // after this agent's restart
	must(turn.begin("b", protocol.RestorePlan), false)
	turn.end("a")
	must(turn.begin("b", protocol.RestorePlan), true)
	turn.end("b")
	must(turn.begin("a", protocol.RestoreUndo), false) // would stop b's members
	must(turn.begin("b", protocol.RestoreStop), true)
	must(turn.begin("b", protocol.RestoreLoad), true)
	turn.end("b")
	must(turn.begin("c", protocol.RestorePlan), false)
	turn.end("b")
	must(turn.begin("c", protocol.RestorePlan), true)
	turn.end("c")
	must(turn.begin("b", protocol.RestoreOpen), false)
}
