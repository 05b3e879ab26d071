package node

import (
	"fmt"
	"sync"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/protocol"
)

// turn lets one restore at a time work on this host, the one that was planned
// last. The coordinator that drove an earlier one may be dead, and its orders
// may still be on their way: they must not end what the later one has started.
type turn struct {
	mu      sync.Mutex
	current snapline.OperationID
	working map[snapline.OperationID]int // steps under way
}

// begin says why the step must not be taken; nil when it may, and then end has
// to be called.
func (t *turn) begin(op snapline.OperationID, phase protocol.RestorePhase) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if phase == protocol.RestorePlan {
		for other := range t.working {
			if other != op {
				return fmt.Errorf("%s is still at work here; restore again when it has ended", other)
			}
		}
		t.current = op
	} else if t.current != op && t.current != "" {
		return fmt.Errorf("a later restore, %s, has taken over", t.current)
	}
	if t.working == nil {
		t.working = map[snapline.OperationID]int{}
	}
	t.working[op]++
	return nil
}

// busy reports whether a step is under way.
func (t *turn) busy() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.working) > 0
}

func (t *turn) end(op snapline.OperationID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.working[op]--; t.working[op] == 0 {
		delete(t.working, op)
	}
}
