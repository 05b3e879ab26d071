package main

import (
	"cmp"
	"fmt"
	"hash/maphash"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// What etcd's clients saw is judged by a model of one register for each key, to
// which something happens that no ordinary store knows: a restore takes it back
// to what it was at a snapshot. So there are four operations. A client puts, or
// gets. A cut remembers the register's value under the snapshot's name, at some
// moment between its first and its last member's instant. A rollback makes that
// value the present one, at some moment between the recovery's beginning and the
// last member's running.
//
// The clients are outside the group, so what they had under way is in no cut and
// in no order with it. Two things are allowed that a plain register would not do:
//
//   - A put whose outcome a client does not know may take effect at any later time,
//     or never.
//   - A put that was under way at the cut, or at the rollback, may take effect once
//     more after the rollback. At the cut it was in a member's log, undecided, or on
//     the way between members, and is so again each time the snapshot is restored;
//     at the rollback it may still have been on its way from the client, whose TCP
//     repeats it until the put is acknowledged. This is an echo.
//
// A put that was acknowledged before the cut is thus in it, for good; one that
// began after the cut and was acknowledged before the rollback is gone for good;
// and nothing else is ever read. Echoes, and rollbacks of restores that may not have come
// that far, are operations that may happen or not; none outlives the next rollback.

// never is when an operation returns of which nobody knows that it has.
const never = math.MaxInt64

// action is an operation of the model.
type action string

const (
	put      action = "put"
	get      action = "get"
	cut      action = "cut"
	rollback action = "rollback"
)

// operation is one action on one key, on the clock that clients and coordinator
// share: Unix nanoseconds. Values are never put twice.
type operation struct {
	Client   int    `json:"client"`
	Action   action `json:"action"`
	Key      string `json:"key"`
	Value    string `json:"value"` // put, or got; "" for a key that is not there
	Snapshot string `json:"snapshot,omitempty"`
	Call     int64  `json:"call"`
	Return   int64  `json:"return"`        // never: nobody knows its outcome
	May      bool   `json:"may,omitempty"` // it need not happen
}

func (o operation) overlaps(from, to int64) bool { return o.Call <= to && o.Return >= from }

// restoration is one time that the group was, or may have been, taken back.
type restoration struct {
	Snapshot       string
	CutFrom, CutTo int64 // when the snapshot's cut was made
	From, To       int64
	Possible       bool // it may not have come to it
	// until is when the next certain one has ended: nothing of this one is left then.
	until int64
}

// ordered sorts restorations by their ends.
func ordered(all []restoration) []restoration {
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b restoration) int { return cmp.Compare(a.To, b.To) })
	next := int64(never)
	for i, r := range slices.Backward(all) {
		all[i].until = next
		if !r.Possible {
			next = r.To
		}
	}
	return all
}

// during leaves those restorations of ordered ones that one key's clients can have
// noticed: before its first operation there was nothing to take back, and after its
// last get nobody looked.
func during(seen []operation, all []restoration) []restoration {
	first, last := int64(never), int64(0)
	for _, o := range seen {
		first = min(first, o.Call)
		if o.Action == get && o.Return < never {
			last = max(last, o.Return)
		}
	}
	return slices.DeleteFunc(all, func(r restoration) bool {
		to := r.To
		if r.Possible {
			to = r.until
		}
		return to < first || r.From > last
	})
}

// expand adds to one key's puts and gets what the restorations have done, and
// leaves away what cannot matter: a put of unknown outcome, or an echo, whose value
// nobody got afterwards is as if it had never taken effect.
func expand(key string, seen []operation, all []restoration) (out []operation) {
	lastGot := map[string]int64{} // when a value was last got
	for _, o := range seen {
		if o.Action == get && o.Return < never {
			lastGot[o.Value] = max(lastGot[o.Value], o.Return)
		}
	}
	gotSince := func(o operation) bool { return lastGot[o.Value] >= o.Call }
	var puts [][]operation // one each, and its echoes
	for _, o := range seen {
		if o.Action == put {
			puts = append(puts, []operation{o})
		} else if o.Return < never {
			out = append(out, o)
		}
	}
	known := map[string]bool{}
	for _, r := range during(seen, ordered(all)) {
		if !known[r.Snapshot] {
			known[r.Snapshot] = true
			out = append(out, operation{Client: -1, Action: cut, Key: key, Snapshot: r.Snapshot, Call: r.CutFrom, Return: r.CutTo})
		}
		if r.Possible {
			r.To = r.until
		}
		out = append(out, operation{Client: -1, Action: rollback, Key: key, Snapshot: r.Snapshot, Call: r.From, Return: r.To, May: r.Possible})
		for i, p := range puts {
			puts[i] = append(p, echoes(p, r)...)
		}
	}
	for _, p := range puts {
		for _, o := range p {
			if o.Return < never && !o.May || gotSince(o) {
				out = append(out, o)
			}
		}
	}
	return out
}

// register is a state of the model.
type register struct {
	value string
	cuts  map[string]string // never changed once made
}

// echoes are what may come again of a put, and of its earlier echoes, after a
// rollback.
func echoes(p []operation, r restoration) (all []operation) {
	e := p[0]
	e.May = true
	for _, o := range p {
		if o.overlaps(r.CutFrom, r.CutTo) { // it is in what was restored
			e.Call, e.Return = r.From, r.until
			return []operation{e}
		}
		if o.overlaps(r.From, r.To) { // it goes on through it
			e.Call, e.Return = max(o.Call, r.From), min(o.Return, r.until)
			all = append(all, e)
		}
	}
	return all
}

var hashSeed = maphash.MakeSeed()

// model is the register as porcupine takes it: a set of states, for it is not known
// which of the operations that may happen have.
var model = (&porcupine.NondeterministicModel{
	Init: func() []any { return []any{register{}} },
	Step: func(state, input, _ any) []any {
		s, o := state.(register), input.(operation)
		var next []any
		if o.May {
			next = append(next, s)
		}
		switch o.Action {
		case put:
			next = append(next, register{o.Value, s.cuts})
		case get:
			if o.Value == s.value {
				next = append(next, s)
			}
		case cut:
			cuts := maps.Clone(s.cuts)
			if cuts == nil {
				cuts = map[string]string{}
			}
			cuts[o.Snapshot] = s.value
			next = append(next, register{s.value, cuts})
		case rollback:
			if value, made := s.cuts[o.Snapshot]; made {
				next = append(next, register{value, s.cuts})
			}
		default:
			panic("chaos: unknown action " + o.Action)
		}
		return next
	},
	Equal: func(a, b any) bool {
		x, y := a.(register), b.(register)
		return x.value == y.value && maps.Equal(x.cuts, y.cuts)
	},
	Hash: func(state any) uint64 { return maphash.String(hashSeed, state.(register).value) },
	DescribeOperation: func(input, _ any) string {
		o := input.(operation)
		what := fmt.Sprintf("%s %q", o.Action, o.Value)
		if o.Action == cut || o.Action == rollback {
			what = fmt.Sprintf("%s %s", o.Action, o.Snapshot)
		}
		if o.May {
			what = "perhaps " + what
		}
		return what
	},
	DescribeState: func(state any) string { return fmt.Sprintf("%q", state.(register).value) },
}).ToModel()

// verdict is what the model says of a history.
type verdict struct {
	Result porcupine.CheckResult
	Key    string // the offending one, or the one that took too long
	Info   porcupine.LinearizationInfo
}

// judge holds a history against the model, key by key, within a limit for each.
func judge(history []operation, all []restoration, limit time.Duration) verdict {
	byKey := map[string][]operation{}
	for _, o := range history {
		byKey[o.Key] = append(byKey[o.Key], o)
	}
	v := verdict{Result: porcupine.Ok}
	for _, key := range slices.Sorted(maps.Keys(byKey)) {
		result, info := porcupine.CheckOperationsVerbose(model, porcupineOperations(expand(key, byKey[key], all)), limit)
		if result != porcupine.Ok {
			v.Result, v.Key, v.Info = result, key, info
			if result == porcupine.Illegal {
				return v
			}
		}
	}
	return v
}

func porcupineOperations(all []operation) (out []porcupine.Operation) {
	for i, o := range all {
		client := o.Client
		if o.Client < 0 || o.May { // one at a time each, for the picture
			client = 1000 + i
		}
		out = append(out, porcupine.Operation{ClientId: client, Input: o, Call: o.Call, Return: o.Return})
	}
	return out
}
