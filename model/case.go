package model

import "fmt"

// Case is one run of Spin: a model, its switches and the expected outcome.
type Case struct {
	Model string // "round" or "restore"
	// Define are the switches, for example "ROUNDS=1" or "WRONG_NO_WITNESS".
	Define []string
	// Want is empty when every property must hold. Otherwise it names the
	// property that must be violated, P_..., or the state that must be reached,
	// C_....
	Want string
	// Cycles looks for executions without an end instead of violated properties.
	Cycles bool
	// Large cases are for make model only: up to minutes, and 8 GiB of memory.
	Large bool
}

// Name tells the case from all others.
func (c Case) Name() string {
	s := c.Model
	for _, d := range c.Define {
		s += " " + d
	}
	if c.Cycles {
		s += " cycles"
	}
	if c.Want != "" {
		s += " finds " + c.Want
	}
	return s
}

// Cases returns all cases, the right protocol first.
func Cases() []Case {
	var cases []Case
	add := func(c Case, define ...string) {
		c.Define = define
		cases = append(cases, c)
	}

	round, restore := Case{Model: "round"}, Case{Model: "restore"}
	add(round, "ROUNDS=1")
	add(round, "ROUNDS=1", "BARRIER")
	add(round, "ROUNDS=1", "CRASHES=0", "FOREIGN")
	add(round, "ROUNDS=1", "CALM=1")
	add(round, "ROUNDS=2", "CALM=1")
	add(round, "ROUNDS=1", "CALM=1", "BARRIER")
	add(round, "ROUNDS=2", "CALM=2", "CRASHES=0", "NO_SILENCE")
	add(restore, "CRASHES=0")
	add(restore, "CALM")
	add(Case{Model: "round", Cycles: true}, "ROUNDS=1", "CRASHES=0")
	add(Case{Model: "restore", Cycles: true}, "CRASHES=0")

	large := func(model string, cycles bool, define ...string) {
		add(Case{Model: model, Large: true, Cycles: cycles}, define...)
	}
	large("round", false, "ROUNDS=1", "CRASHES=2")
	large("round", false, "ROUNDS=1", "FOREIGN")
	large("round", false, "ROUNDS=2", "CRASHES=0", "NO_SILENCE")
	large("round", false, "ROUNDS=2", "CRASHES=0", "NO_SILENCE", "BARRIER")
	large("round", false, "ROUNDS=2", "CALM=2", "NO_SILENCE")
	large("round", false, "ROUNDS=2", "CALM=2", "NO_SILENCE", "BARRIER")
	large("restore", false, "CRASHES=1")
	large("round", true, "ROUNDS=1")

	for _, w := range wrong {
		add(Case{Model: w.model, Want: w.want}, w.define...)
	}
	for _, c := range reachable {
		add(Case{Model: c.model, Want: c.want}, c.define...)
	}
	return cases
}

type expected struct {
	model, want string
	define      []string
}

// wrong are protocols with a mistake. A mistake that another rule makes up for
// needs that rule gone as well, and shows alone as a round that fails for nothing.
var wrong = []expected{
	{"round", "P_ORPHAN", []string{"ROUNDS=1", "WRONG_MARK_AFTER_RESUME"}},
	{"round", "P_ORPHAN", []string{"ROUNDS=1", "CRASHES=0", "NO_SILENCE", "WRONG_NO_ARM_BARRIER"}},
	{"round", "P_ORPHAN", []string{"ROUNDS=1", "CRASHES=0", "WRONG_NO_ARM_BARRIER", "BARRIER"}},
	{"round", "P_COMMITS", []string{"ROUNDS=1", "CALM=1", "WRONG_NO_ARM_BARRIER"}},
	{"round", "P_ORPHAN", []string{"ROUNDS=1", "CRASHES=0", "WRONG_SHIELD_OFF_EARLY", "WRONG_NO_WITNESS"}},
	{"round", "P_COMMITS", []string{"ROUNDS=1", "CALM=1", "WRONG_SHIELD_OFF_EARLY"}},
	{"round", "P_ORPHAN", []string{"ROUNDS=1", "CRASHES=0", "WRONG_SHORT_GATE"}},
	{"round", "P_ORPHAN", []string{"ROUNDS=1", "CRASHES=0", "WRONG_SHORT_PAUSE", "BARRIER"}},
	{"round", "P_ORPHAN", []string{"ROUNDS=1", "CRASHES=0", "WRONG_NO_RECHECK"}},
	{"round", "P_ORPHAN", []string{"ROUNDS=1", "CRASHES=0", "NO_SILENCE", "WRONG_NO_ARM_LIMIT", "FOREIGN"}},
	{"round", "P_ORPHAN", []string{"ROUNDS=1", "CRASHES=0", "WRONG_NO_WITNESS", "FOREIGN"}},
	{"round", "P_ORPHAN", []string{"ROUNDS=1", "WRONG_NO_DISARMED"}},
	{"round", "P_ORPHAN", []string{"ROUNDS=1", "WRONG_NO_INCARNATION"}},
	{"round", "P_SHIELDED", []string{"ROUNDS=1", "WRONG_RULES_WITHOUT_DEADLINE"}},
	{"round", "P_MARKED", []string{"ROUNDS=1", "WRONG_RULES_WITHOUT_DEADLINE"}},
	{"round", "P_HELD", []string{"ROUNDS=1", "WRONG_NO_GATE_TIMER"}},
	{"round", "P_PAUSED", []string{"ROUNDS=1", "BARRIER", "WRONG_NO_GUARD"}},
	{"round", "P_WHOLE", []string{"ROUNDS=2", "CRASHES=0", "NO_SILENCE", "WRONG_ANY_ROUND", "WRONG_NO_DISARMED", "BARRIER"}},
	{"round", "P_COMMITS", []string{"ROUNDS=2", "CALM=2", "CRASHES=0", "NO_SILENCE", "STRAGGLERS"}},
	{"restore", "P_ABANDONED", []string{"CRASHES=0", "WRONG_NO_QUARANTINE"}},
	{"restore", "P_ABANDONED", []string{"CRASHES=0", "WRONG_REPEAT_AT_ONCE"}},
	{"restore", "P_ABANDONED", []string{"CRASHES=0", "WRONG_TAP_UP"}},
	{"restore", "P_ABANDONED", []string{"WRONG_QUARANTINE_DIES"}},
	{"restore", "P_DEAF", []string{"CRASHES=0", "WRONG_RULES_IN_SNAPSHOT"}},
	{"restore", "P_ONE_TIMELINE", []string{"CRASHES=0", "WRONG_NO_BARRIERS"}},
	{"restore", "P_ALL_RUN", []string{"CRASHES=0", "WRONG_LAPSE_UNSEEN"}},
	{"restore", "P_ALL_RUN", []string{"CRASHES=0", "WRONG_NO_FENCE"}},
	{"restore", "P_UNTOUCHED", []string{"CRASHES=0", "WRONG_STOP_AT_ONCE"}},
	{"restore", "P_UNDONE", []string{"CRASHES=0", "WRONG_UNDO_HELD_ONLY"}},
	{"restore", "P_RESTORES", []string{"CALM", "WRONG_NEVER_FREE"}},
	{"restore", "P_WAITING", []string{"WRONG_LOADED_UNGUARDED"}},
}

// reachable are states without which a property would hold for nothing.
var reachable = []expected{
	{"round", "C_COMMIT", []string{"ROUNDS=1"}},
	{"round", "C_COMMIT", []string{"ROUNDS=1", "BARRIER"}},
	{"round", "C_BOTH", []string{"CALM=1"}},
	{"round", "C_TRANSIT", []string{"ROUNDS=1", "CALM=1"}},
	{"round", "C_EARLY", []string{"ROUNDS=1", "CALM=1"}},
	{"round", "C_STRAGGLER", []string{"CRASHES=0", "NO_SILENCE"}},
	{"round", "C_EXPIRED", []string{"ROUNDS=1", "CRASHES=0"}},
	{"round", "C_EXPIRED_DOWN", []string{"ROUNDS=1"}},
	{"round", "C_AFTER_CRASH", nil},
	{"round", "C_AFTER_DEATH", []string{"CRASHES=0", "NO_SILENCE"}},
	{"round", "C_LATE", []string{"ROUNDS=1", "CRASHES=0"}},
	{"round", "C_LEAK", []string{"ROUNDS=1", "CRASHES=0", "FOREIGN"}},
	{"round", "C_ABORT_CUT", []string{"ROUNDS=1", "CRASHES=0"}},
	{"round", "C_STALE", []string{"ROUNDS=1"}},
	{"round", "C_GUARD", []string{"ROUNDS=1", "BARRIER"}},
	{"round", "C_SILENT_MARKED", []string{"ROUNDS=1", "CRASHES=0"}},
	{"restore", "C_RESTORED", []string{"CRASHES=0"}},
	{"restore", "C_TWICE", []string{"CALM"}},
	{"restore", "C_REFUSED", []string{"CRASHES=0"}},
	{"restore", "C_UNDONE", []string{"CRASHES=0"}},
	{"restore", "C_LAPSED", []string{"CRASHES=0"}},
	{"restore", "C_REBORN", nil},
	{"restore", "C_KEPT_OUT", []string{"CRASHES=0"}},
	{"restore", "C_OVERTAKEN", []string{"CRASHES=0"}},
}

// define returns the -D arguments of a case: its switches, and those that make
// Spin look for what is wanted alone.
func (c Case) define() ([]string, error) {
	var args []string
	for _, d := range c.Define {
		args = append(args, "-D"+d)
	}
	if c.Want == "" {
		return args, nil
	}
	n, err := number(c.Model, c.Want)
	if err != nil {
		return nil, err
	}
	if c.Want[0] == 'C' {
		return append(args, fmt.Sprintf("-DCOVER=%d", n)), nil
	}
	return append(args, fmt.Sprintf("-DONLY=%d", n)), nil
}
