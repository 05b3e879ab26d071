package protocol

import (
	"fmt"
	"hash/fnv"

	"github.com/snapline/snapline"
)

// nonce tells this round's probes from those of other rounds and groups.
func (c *Coordinator) nonce() uint64 {
	h := fnv.New64a()
	h.Write([]byte(c.group))
	return h.Sum64() ^ uint64(c.round)
}

// targets lists the addresses that a member's probes go to: those of all the
// others.
func (c *Coordinator) targets(m *memberState) []string {
	var macs []string
	for _, o := range c.members {
		if o != m {
			macs = append(macs, o.macs...)
		}
	}
	return macs
}

// unproven lists the members from which no probe with its mark intact has
// reached m.
func (c *Coordinator) unproven(m *memberState) []*memberState {
	var open []*memberState
	for _, o := range c.members {
		if o == m || len(o.macs) == 0 || len(m.macs) == 0 { // nothing to carry a packet
			continue
		}
		if mark, ok := m.seen[o.number]; !ok || mark != c.post {
			open = append(open, o)
		}
	}
	return open
}

// owesProbes reports whether another member still waits for a probe of m.
func (c *Coordinator) owesProbes(m *memberState) bool {
	for _, o := range c.members {
		if _, ok := o.seen[m.number]; o != m && len(o.macs) > 0 && len(m.macs) > 0 && !ok {
			return true
		}
	}
	return false
}

func (c *Coordinator) probed(now snapline.Instant, m *memberState, p Probed) []Effect {
	if c.phase != PhaseProbe {
		return nil
	}
	seen := map[uint32]snapline.Codepoint{}
	for k, v := range m.seen {
		seen[k] = v
	}
	for k, v := range p.Seen {
		seen[k] = v
	}
	m.seen = seen // never changed in place: clones share it
	for _, o := range c.members {
		if mark, ok := seen[o.number]; ok && o != m && mark != c.post {
			return c.pathsFailed(now)
		}
	}
	return c.advance(now)
}

// pathsFailed refuses the coloured cut: marks that do not arrive would let
// packets from after the cut pass a shield.
func (c *Coordinator) pathsFailed(now snapline.Instant) []Effect {
	const hint = "let the network carry this DSCP codepoint between the members, or use --cut barrier, which needs no marks"
	for _, m := range c.members {
		for _, o := range c.unproven(m) {
			text := fmt.Sprintf("path %s → %s: no probe arrived", o.spec.Name, m.spec.Name)
			if mark, ok := m.seen[o.number]; ok {
				text = fmt.Sprintf("path %s → %s: codepoint 0x%02x arrives as 0x%02x", o.spec.Name, m.spec.Name, uint8(c.post), uint8(mark))
			}
			c.blame(m, snapline.Reason{Text: text, Hint: hint})
		}
	}
	return c.startAbort(now)
}
