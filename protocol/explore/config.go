package explore

import (
	"reflect"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/protocol"
)

// Config says what is explored.
type Config struct {
	Members  int // 2 or 3
	Strategy snapline.Strategy
	// From begins where an undisturbed round has come to this phase: PhaseArm or
	// PhaseCut; without it, at the beginning.
	From protocol.Phase
	// Settle follows a round along one way only, the calm one, once no record of it
	// can hold an orphan any more: it cannot commit, it has, or all have cut and
	// nobody received one.
	Settle bool
	// RecordsOnly judges the records, and not how histories end.
	RecordsOnly bool
	// Timeless lets no deadline of Da, Dc and Dg come.
	Timeless bool

	// Budgets of trouble in one path.
	Crashes  int // of the coordinator or of an agent, between any two effects
	Letters  int // messages lost or delivered twice
	Failures int // effects that fail, the record's among them
	Hurries  int // impatient timers that ring while something is under way
	Cancels  int // the operator gives up

	// Foreign is a first member whose guest uses the POST codepoint itself.
	Foreign bool
	// Pinned gates outlive their agent.
	Pinned bool

	Variant Variant // a wrong protocol; the zero value is the real one
	Limit   int     // give up after so many states; 0 for none

	plans map[reflect.Type][]treatment
}

// Variant makes the protocol wrong on purpose, from outside the machines.
type Variant struct {
	AgentEvent       func(armed snapline.Instant, ev *protocol.Event)
	AgentEffect      func(e protocol.Effect) protocol.Effect
	CoordinatorEvent func(ev *protocol.Event)
	Coordinator      func(c *protocol.Coordinator, at snapline.Instant, effects []protocol.Effect) []protocol.Effect
}

// deadlines are the shortest in whole seconds that Deadlines.Valid allows.
func deadlines() snapline.Deadlines {
	return snapline.Deadlines{Ready: 15 * time.Second, Arm: time.Second, Cut: time.Second, Gate: 3 * time.Second}
}
