package groupfile

import (
	"slices"

	"github.com/snapline/snapline"
)

// apart reads the sets of members that are to be kept on different hosts; names
// are the members that the file declares.
func (p *parser) apart(n *node, names map[snapline.MemberName]int) (sets [][]snapline.MemberName) {
	if n.isNull() {
		return nil
	}
	items, ok := n.items()
	if !ok {
		p.add(n.Line, "anti_affinity is %s, not a list of lists of members", n.kind())
		return nil
	}
	for _, item := range items {
		members, ok := item.items()
		if !ok {
			p.add(item.Line, "anti_affinity has %s in it, not a list of members: write - [n1, n2]", item.kind())
			continue
		}
		var set []snapline.MemberName
		for _, m := range members {
			if name := snapline.MemberName(p.name(item, m, "a member's name", "member")); name != "" {
				p.keptApart(m, name, set, names)
				set = append(set, name)
			}
		}
		if len(members) < 2 {
			p.add(item.Line, "it takes two members to be kept apart")
		}
		sets = append(sets, set)
	}
	return sets
}

func (p *parser) keptApart(n *node, name snapline.MemberName, before []snapline.MemberName, names map[snapline.MemberName]int) {
	if _, declared := names[name]; !declared {
		p.add(n.Line, "the group has no member %q", name)
	}
	if slices.Contains(before, name) {
		p.add(n.Line, "member %q is named twice", name)
	}
}
