package node

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/snapline/snapline"
)

// examine looks at this host, and at the repository as it is seen from here.
func (a *Agent) examine(ctx context.Context, e examination) ([]snapline.Finding, snapline.Instant) {
	var found []snapline.Finding
	if !e.ClockOnly {
		if a.Examine != nil {
			found = a.Examine(ctx)
		}
		found = append(found, a.examineRepository(ctx))
	}
	return found, a.Clock.Now() // last: the question's way takes less than the work
}

func (a *Agent) examineRepository(ctx context.Context) snapline.Finding {
	f := snapline.Finding{Check: "repository", State: snapline.FindingProblem}
	repo, err := a.repository()
	if err != nil {
		f.Text, f.Hint = err.Error(), "see the agent's log, and what it is given with --key-file or --passphrase-file"
		return f
	}
	free, err := repo.Free(ctx)
	if err != nil {
		f.Text, f.Hint = fmt.Sprintf("it does not say how much space it has: %v", err), "can this host reach it?"
		return f
	}
	f.State, f.Text = snapline.FindingOK, fmt.Sprintf("reached, %d MiB free", free>>20)
	return f
}

// pathStep asks an agent to do one step of the check of the paths between the
// members of a group, for one of them.
type pathStep struct {
	Step    string             `json:"step"`  // open, send, look, close
	Nonce   uint64             `json:"nonce"` // of this check
	Member  snapline.Member    `json:"member"`
	Post    snapline.Codepoint `json:"post"`
	Sender  uint32             `json:"sender"`
	Targets []string           `json:"targets,omitempty"`
}

// pathFound is what came of a step.
type pathFound struct {
	Reasons []snapline.Reason             `json:"reasons,omitempty"`
	MACs    []string                      `json:"macs,omitempty"` // open
	Seen    map[uint32]snapline.Codepoint `json:"seen,omitempty"` // look
}

// paths are the gates of checks under way. Each closes by itself when the
// coordinator does not come back.
type paths struct {
	mu   sync.Mutex
	open map[pathKey]*pathGate
}

type pathKey struct {
	nonce  uint64
	member snapline.MemberName
}

type pathGate struct {
	gate snapline.Gate
	late *time.Timer
}

func (p *paths) get(k pathKey) snapline.Gate {
	p.mu.Lock()
	defer p.mu.Unlock()
	if g := p.open[k]; g != nil {
		return g.gate
	}
	return nil
}

func (p *paths) put(k pathKey, gate snapline.Gate) {
	p.close(k) // the coordinator has asked twice
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open == nil {
		p.open = map[pathKey]*pathGate{}
	}
	p.open[k] = &pathGate{gate, time.AfterFunc(pathLimit, func() { p.close(k) })}
}

func (p *paths) close(k pathKey) {
	p.mu.Lock()
	g := p.open[k]
	delete(p.open, k)
	p.mu.Unlock()
	if g != nil {
		g.late.Stop()
		_ = g.gate.Close() // what it leaves, the next start of the agent removes
	}
}

func (p *paths) closeAll() {
	p.mu.Lock()
	var keys []pathKey
	for k := range p.open {
		keys = append(keys, k)
	}
	p.mu.Unlock()
	for _, k := range keys {
		p.close(k)
	}
}

// path does one step. The gate's rules stay off: it marks nothing, withholds
// nothing but probes, and the VM itself is let go of at once.
func (a *Agent) path(ctx context.Context, s pathStep) *pathFound {
	f := &pathFound{}
	k := pathKey{s.Nonce, s.Member.Name}
	if s.Step == "close" {
		a.paths.close(k)
		return f
	}
	if s.Step == "open" {
		a.openPath(ctx, s, k, f)
		return f
	}
	gate := a.paths.get(k)
	if gate == nil {
		f.Reasons = []snapline.Reason{{Text: "the agent was restarted during the check", Hint: "run it again"}}
		return f
	}
	var err error
	if s.Step == "send" {
		err = gate.Probe(ctx, s.Nonce, s.Sender, s.Targets)
	} else {
		f.Seen, err = gate.Probes(s.Nonce)
	}
	if err != nil {
		f.Reasons = []snapline.Reason{{Text: err.Error()}}
	}
	return f
}

func (a *Agent) openPath(ctx context.Context, s pathStep, k pathKey, f *pathFound) {
	vm, err := a.Hypervisor.Adopt(ctx, s.Member)
	if err != nil {
		f.Reasons = []snapline.Reason{{Text: err.Error()}}
		return
	}
	defer vm.Close()
	nics := vm.Info().NICs
	f.Reasons = append(vm.Problems(ctx), a.space(ctx, vm.Info().RAMBytes)...)
	gate, err := a.Gates.Open(ctx, nics, s.Post)
	if err != nil {
		f.Reasons = append(f.Reasons, snapline.Reason{Text: err.Error(), Hint: "or take it with --cut barrier, which needs no gate"})
		return
	}
	for _, n := range nics {
		f.MACs = append(f.MACs, n.MAC)
	}
	a.paths.put(k, gate)
}
