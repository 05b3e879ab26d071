package protocol_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/protocol"
)

// instance is what a host's hypervisor holds of the group's members.
type instance string

const (
	oldRuns instance = "old one runs"
	none    instance = "none"
	waits   instance = "loaded and paused"
	runs    instance = "restored and running"
	whole   instance = "restored, running, and given its packets"
)

// troubled is a restore among lost, copied and overtaking messages, failing
// hypervisors and dying agents.
type troubled struct {
	*stage
	t         *testing.T
	r         *rand.Rand
	hosts     []string
	state     map[string]instance
	disturbed bool
	// coloured: a host has said so, and stopped is when the last one stopped its own.
	coloured bool
	stopped  snapline.Instant
}

// lifetime is of packets, as far as these restores are told.
const lifetime = 5 * time.Second

// TestRestoreInTrouble runs seeded restores and wants of each: it ends; no
// member is loaded while an old instance lives anywhere, none runs before all
// are loaded, none gets its packets twice or before all run; success means that all
// run and have them, failure that none runs.
func TestRestoreInTrouble(t *testing.T) {
	done, undone := 0, 0
	for seed := range uint64(6000) {
		w := newTroubled(t, seed)
		w.run()
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
		switch end, ok := w.ended.(protocol.RestoreDone); {
		case !ok:
			t.Fatalf("seed %d: the restore did not end", seed)
		case end.Problem == nil:
			done++
			if seed%2 == 0 {
				w.want(seed, runs)
			} else {
				w.want(seed, whole)
			}
		case end.Problem.Code == snapline.CodeRefused:
			w.want(seed, oldRuns)
		default:
			undone++
			w.want(seed, none, oldRuns)
		}
	}
	t.Logf("%d restored, %d undone", done, undone)
	if done < 1000 || undone < 1000 {
		t.Errorf("%d restored, %d undone: the trouble is too great or too small", done, undone)
	}
}

func newTroubled(t *testing.T, seed uint64) *troubled {
	w := &troubled{stage: newStage(), t: t, r: rand.New(rand.NewPCG(seed, 0)), state: map[string]instance{}}
	w.silent, w.disturbed = true, seed%4 != 0
	args := []string{"quarantine=" + lifetime.String()}
	if seed%2 != 0 {
		args = append(args, "replay")
	}
	for i := range 2 + w.r.IntN(2) {
		h := fmt.Sprintf("h%d", i+1)
		args = append(args, fmt.Sprintf("n%d=%s", i+1, h))
		w.hosts, w.state[h] = append(w.hosts, h), oldRuns
	}
	if err := w.beginRestore(args); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *troubled) run() {
	for range 60 {
		w.turn()
	}
	w.disturbed = false
	for range 40 {
		for len(w.wire)+len(w.tasks) > 0 {
			w.turn()
		}
		w.advance(time.Second)
	}
}

func (w *troubled) chance(percent int) bool { return w.disturbed && w.r.IntN(100) < percent }

// turn does one of the things that can happen next.
func (w *troubled) turn() {
	if w.chance(1) {
		h := w.hosts[w.r.IntN(len(w.hosts))]
		delete(w.actors, h)
		w.forget(h) // the agent's work dies with it, but no instance does
		w.start(h)
		return
	}
	n := len(w.wire) + len(w.tasks)
	if n == 0 || w.chance(10) {
		w.advance(500 * time.Millisecond)
		return
	}
	i := w.r.IntN(n)
	if i >= len(w.wire) {
		w.act(i - len(w.wire))
		return
	}
	l := w.wire[i]
	if !w.chance(15) { // else it is delivered and stays, to come again
		w.wire = slices.Delete(w.wire, i, i+1)
	}
	if !w.chance(15) {
		w.step(l.to, protocol.RestoreReceived{Msg: l.msg.(protocol.RestoreMessage)})
	}
}

// act ends one host's phase.
func (w *troubled) act(i int) {
	k := w.tasks[i]
	w.tasks = slices.Delete(w.tasks, i, i+1)
	e := k.effect.(protocol.Act)
	if w.chance(2) {
		if e.Phase == protocol.RestoreReplay {
			w.state[k.who] = whole // in part, or all but the answer
		}
		w.step(k.who, protocol.Acted{Op: e.Op, Phase: e.Phase, Reasons: []snapline.Reason{{Text: "it did not work"}}})
		return
	}
	var o options
	switch e.Phase {
	case protocol.RestoreStop:
		w.state[k.who] = none
		w.stopped, o.coloured = w.now, w.r.IntN(4) == 0
		w.coloured = w.coloured || o.coloured
	case protocol.RestoreLoad:
		w.all(e, none, waits)
		w.state[k.who] = waits
	case protocol.RestoreOpen:
		w.all(e, waits, runs)
		if w.coloured && w.now.Sub(w.stopped) < lifetime {
			w.t.Errorf("let run %v after the last stop of a coloured member", w.now.Sub(w.stopped))
		}
		w.state[k.who] = runs
	case protocol.RestoreReplay:
		w.all(e, runs, whole)
		if w.state[k.who] == whole {
			w.t.Errorf("%s is given its packets again", k.who)
		}
		w.state[k.who] = whole
	case protocol.RestoreUndo:
		w.state[k.who] = none
	}
	w.step(k.who, acted(e, o))
}

// all wants every host to be in one of the states before a phase is done
// anywhere, unless the restore has been given up already and the request was
// only late: then the undo still to come ends what it does.
func (w *troubled) all(e protocol.Act, states ...instance) {
	if r, ok := w.actors[coordinator].(*protocol.Restore); !ok || r.Phase() == protocol.RestoreUndo {
		return
	}
	for _, h := range w.hosts {
		if !slices.Contains(states, w.state[h]) {
			w.t.Errorf("%s while at %s: %s", e.Phase, h, w.state[h])
		}
	}
}

func (w *troubled) want(seed uint64, states ...instance) {
	w.t.Helper()
	for _, h := range w.hosts {
		if !slices.Contains(states, w.state[h]) {
			w.t.Fatalf("seed %d: %+v, but at %s: %s", seed, w.ended, h, w.state[h])
		}
	}
}
