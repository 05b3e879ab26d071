package explore

import "fmt"

// Result is what a search has found.
type Result struct {
	States      int // different ones
	Transitions int // between them, those to known ones included
	Depth       int // of the state that is furthest from the first, in actions
	Still       int // states from which the calm was tried: those with nothing under way, and settled ones
	Commits     int // states in which the record exists
	Complete    bool
	// Fault is the first violation, empty if there is none; Trace is a shortest
	// way to it.
	Fault string
	Trace []string
}

// node is how a state was first reached.
type node struct {
	parent int32
	action action
}

type search struct {
	cfg    *Config
	result Result
	nodes  []node
	known  map[key]struct{}
	good   map[key]struct{} // states that the calm is known to bring to a good end
}

// open is a state that has yet to be expanded.
type open struct {
	state *state
	node  int32
}

// Run explores breadth-first until nothing is left, a violation is found, or
// the limit is reached.
func Run(cfg Config) Result {
	x := &search{cfg: &cfg, known: map[key]struct{}{}, good: map[key]struct{}{}}
	first := begin(x.cfg).prepare(cfg.From)
	x.known[first.id()] = struct{}{}
	x.nodes = append(x.nodes, node{parent: -1})
	level := []open{{first, 0}}
	for len(level) > 0 {
		var next []open
		for _, o := range level {
			if next = x.expand(o, next); x.result.Fault != "" {
				x.result.States = len(x.nodes)
				return x.result
			}
			if cfg.Limit > 0 && len(x.nodes) >= cfg.Limit {
				x.result.States = len(x.nodes)
				return x.result
			}
		}
		level = next
		x.result.Depth++
	}
	x.result.States, x.result.Complete = len(x.nodes), true
	return x.result
}

// expand adds the unknown successors of a state to next, and judges them.
func (x *search) expand(o open, next []open) []open {
	settled := x.cfg.Settle && o.state.settled()
	if !x.cfg.RecordsOnly && (settled || o.state.still()) {
		x.result.Still++
		if fault, end := x.calm(o.state); fault != "" {
			x.report(o.node, fault)
			x.result.Trace = append(x.result.Trace, end...)
			return nil
		}
	}
	if o.state.exists {
		x.result.Commits++
	}
	if settled {
		return next
	}
	for _, a := range o.state.actions() {
		n, effects := o.state.after(a)
		if n == nil {
			continue
		}
		if next = x.add(o, a, n, next); x.result.Fault != "" {
			return nil
		}
		if o.state.left.crashes == 0 || !a.kind.sudden() {
			continue
		}
		turns := 1
		if a.process(o.state) == coordinator {
			turns = x.cfg.Members
		}
		for way := range turns * (effects - 1) {
			a.few, a.turn = int8(1+way/turns), int8(way%turns)
			if n, _ := o.state.after(a); n != nil {
				if next = x.add(o, a, n, next); x.result.Fault != "" {
					return nil
				}
			}
		}
	}
	return next
}

func (x *search) add(o open, a action, n *state, next []open) []open {
	x.result.Transitions++
	id := n.id()
	if _, ok := x.known[id]; ok && n.fault == "" {
		return next
	}
	x.known[id] = struct{}{}
	x.nodes = append(x.nodes, node{o.node, a})
	at := int32(len(x.nodes) - 1)
	if n.fault != "" {
		x.report(at, n.fault)
		return nil
	}
	return append(next, open{n, at})
}

// report replays the way to a node for its trace.
func (x *search) report(at int32, fault string) {
	x.result.Fault = fault
	var way []action
	for n := at; x.nodes[n].parent >= 0; n = x.nodes[n].parent {
		way = append(way, x.nodes[n].action)
	}
	s := begin(x.cfg).prepare(x.cfg.From)
	for i := len(way) - 1; i >= 0; i-- {
		x.result.Trace = append(x.result.Trace, fmt.Sprintf("%3d  %s", len(way)-i, s.describe(way[i])))
		s, _ = s.after(way[i])
	}
}
