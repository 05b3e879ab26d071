package node

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/snapline/snapline"
)

// pathCheck looks, as PREPARE and PROBE of a round do, at the members of a group
// and at the paths between them, and ends there.
type pathCheck struct {
	c       *Coordinator
	nonce   uint64
	members []pathMember
}

type pathMember struct {
	snapline.Member
	ready bool // its gate is up
	macs  []string
	seen  map[uint32]snapline.Codepoint
	found []snapline.Finding
}

// examineGroup keeps takes and restores of the group out meanwhile.
func (c *Coordinator) examineGroup(ctx context.Context, g snapline.GroupName) ([]snapline.Finding, error) {
	rec, _, err := c.group(ctx, g)
	if err != nil {
		return nil, err
	}
	op := newOperation(c.Clock, snapline.Operation{Group: g, Kind: kindDoctor})
	release, err := c.begin(g, op)
	if err != nil {
		return nil, err
	}
	defer release()
	p := &pathCheck{c: c}
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		return nil, err
	}
	p.nonce = binary.LittleEndian.Uint64(b[:])
	for _, m := range rec.placed().Members {
		p.members = append(p.members, pathMember{Member: m, seen: map[uint32]snapline.Codepoint{}})
	}
	defer p.each(context.WithoutCancel(ctx), "close", func(*pathMember, *pathFound) {})
	p.open(ctx)
	for range pathTries {
		if !p.anyReady() || p.complete() {
			break
		}
		p.probe(ctx)
	}
	return p.findings(), ctx.Err()
}

// each has all members' agents do a step, at the same time.
func (p *pathCheck) each(ctx context.Context, step string, then func(*pathMember, *pathFound)) {
	ctx, cancel := context.WithTimeout(ctx, pathTime)
	defer cancel()
	var all errgroup.Group
	for i := range p.members {
		m := &p.members[i]
		if !m.ready && step != "open" && step != "close" { // an answer to open may have been lost
			continue
		}
		q := pathStep{Step: step, Nonce: p.nonce, Member: m.Member, Post: p.c.Post, Sender: uint32(i) + 1, Targets: p.targets(i)}
		all.Go(func() error {
			f, err := p.c.question(ctx, m.Host, inspection{Path: &q})
			if err != nil {
				m.blame(snapline.Reason{Text: fmt.Sprintf("the agent did not answer: %v", err), Hint: "see the agent's log on " + string(m.Host)})
				return nil
			}
			for _, r := range f.Path.Reasons {
				m.blame(r)
			}
			then(m, f.Path)
			return nil
		})
	}
	_ = all.Wait() // what went wrong is a finding
}

func (m *pathMember) blame(r snapline.Reason) {
	m.found = append(m.found, snapline.Finding{Host: m.Host, Member: m.Name, Check: "member", State: snapline.FindingProblem, Text: r.Text, Hint: r.Hint})
}

// targets are the addresses of all other members.
func (p *pathCheck) targets(i int) (macs []string) {
	for j, o := range p.members {
		if j != i {
			macs = append(macs, o.macs...)
		}
	}
	return macs
}

func (p *pathCheck) open(ctx context.Context) {
	for i := range p.members {
		if m := &p.members[i]; !p.c.roster.online(m.Host) {
			m.blame(snapline.Reason{Text: fmt.Sprintf("no agent named %s is online", m.Host), Hint: "start it there: snapline agent --name " + string(m.Host) + " --join …"})
		}
	}
	p.each(ctx, "open", func(m *pathMember, f *pathFound) {
		// A member with problems may still have a gate, and be probed.
		m.macs, m.ready = f.MACs, len(f.MACs) > 0
	})
}

// probe sends everybody's probes, gives them time, and looks what has come.
func (p *pathCheck) probe(ctx context.Context) {
	p.each(ctx, "send", func(*pathMember, *pathFound) {})
	select {
	case <-time.After(probeWait):
	case <-ctx.Done():
		return
	}
	p.each(ctx, "look", func(m *pathMember, f *pathFound) {
		for from, mark := range f.Seen {
			m.seen[from] = mark
		}
	})
}

func (p *pathCheck) anyReady() bool {
	for _, m := range p.members {
		if m.ready {
			return true
		}
	}
	return false
}

// complete reports whether a probe of each has come to each.
func (p *pathCheck) complete() bool {
	for i, to := range p.members {
		for j, from := range p.members {
			if _, seen := to.seen[uint32(j)+1]; i != j && to.ready && from.ready && !seen {
				return false
			}
		}
	}
	return true
}

func (p *pathCheck) findings() []snapline.Finding {
	var out []snapline.Finding
	for _, m := range p.members {
		if len(m.found) == 0 {
			m.found = []snapline.Finding{{Host: m.Host, Member: m.Name, Check: "member", State: snapline.FindingOK, Text: "can be snapshotted"}}
		}
		out = append(out, m.found...)
	}
	for i := range p.members {
		out = append(out, p.pathsTo(i)...)
	}
	return out
}

// pathsTo tells of all paths that end at a member: those that are good in one
// line.
func (p *pathCheck) pathsTo(i int) []snapline.Finding {
	const hint = "let the network carry this DSCP codepoint between the members, start the coordinator with another --codepoint, or use --cut barrier, which needs no marks"
	to := p.members[i]
	var out []snapline.Finding
	var good []string
	add := func(state snapline.FindingState, hint, format string, args ...any) {
		out = append(out, snapline.Finding{Host: to.Host, Member: to.Name, Check: "path", State: state, Text: fmt.Sprintf(format, args...), Hint: hint})
	}
	for j, from := range p.members {
		if j == i || !to.ready || !from.ready {
			continue
		}
		switch mark, seen := to.seen[uint32(j)+1]; {
		case !seen:
			add(snapline.FindingProblem, "are the members' bridges connected? Then: "+hint, "%s → %s: no probe arrived", from.Name, to.Name)
		case mark != p.c.Post:
			add(snapline.FindingProblem, hint, "%s → %s: codepoint 0x%02x arrives as 0x%02x", from.Name, to.Name, uint8(p.c.Post), uint8(mark))
		default:
			good = append(good, string(from.Name))
		}
	}
	if good != nil {
		add(snapline.FindingOK, "", "%s → %s: codepoint 0x%02x arrives unchanged", strings.Join(good, ", "), to.Name, uint8(p.c.Post))
	}
	return out
}
