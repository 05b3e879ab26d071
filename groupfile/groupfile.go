// Package groupfile exists because a mistake in a group file must be found
// before anything is touched, together with all others, and at its line.
//
//	group: etcd
//	members:
//	  - name: n1
//	    host: h1
//	    qemu: { qmp: /run/vms/n1.qmp }
//	anti_affinity:          # optional: never two of a set on one host
//	  - [n1, n2, n3]
package groupfile

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/snapline/snapline"
)

// MaxBytes bounds a group file.
const MaxBytes = 1 << 20

// Parse reads a group file. file is its name for messages. The error is a
// *snapline.Error of CodeInvalid that lists every problem as "file:line: text".
func Parse(file string, data []byte) (snapline.Group, error) {
	p := parser{file: file}
	var g snapline.Group
	if root := p.document(data); root != nil {
		g = p.group(root)
	}
	if len(p.problems) > 0 {
		return snapline.Group{}, p.err()
	}
	return g, nil
}

type problem struct {
	line int
	text string
}

// parser collects what is wrong with one file.
type parser struct {
	file     string
	problems []problem
}

func (p *parser) add(line int, format string, args ...any) {
	p.problems = append(p.problems, problem{line, fmt.Sprintf(format, args...)})
}

// err is all problems in the order of their lines. A single one is the message.
func (p *parser) err() error {
	slices.SortStableFunc(p.problems, func(a, b problem) int { return cmp.Compare(a.line, b.line) })
	e := &snapline.Error{Code: snapline.CodeInvalid, Message: fmt.Sprintf("%s has %d problems", p.file, len(p.problems))}
	for _, at := range p.problems {
		e.Reasons = append(e.Reasons, snapline.Reason{Text: fmt.Sprintf("%s:%d: %s", p.file, at.line, at.text)})
	}
	if len(e.Reasons) == 1 {
		e.Message, e.Reasons = e.Reasons[0].Text, nil
	}
	return e
}

func (p *parser) group(root *node) snapline.Group {
	f := p.fields(root, "a group file", "group", "members", "anti_affinity")
	if f == nil {
		return snapline.Group{}
	}
	g := snapline.Group{Name: snapline.GroupName(p.name(root, f["group"], "group", "group"))}
	members := f["members"]
	if members.isNull() {
		p.add(members.at(root), "members is missing: list at least one")
		return g
	}
	items, ok := members.items()
	if !ok {
		p.add(members.Line, "members is %s, not a list", members.kind())
		return g
	}
	if len(items) == 0 {
		p.add(members.Line, "members is empty: list at least one")
	}
	names, sockets := map[snapline.MemberName]int{}, map[string]int{}
	for _, item := range items {
		g.Members = append(g.Members, p.member(item, names, sockets))
	}
	g.AntiAffinity = p.apart(f["anti_affinity"], names)
	return g
}

// member reads one member; names and sockets are the lines of those before it.
func (p *parser) member(item *node, names map[snapline.MemberName]int, sockets map[string]int) snapline.Member {
	f := p.fields(item, "a member", "name", "host", "qemu")
	if f == nil {
		return snapline.Member{}
	}
	m := snapline.Member{
		Name: snapline.MemberName(p.name(item, f["name"], "name", "member")),
		Host: snapline.HostName(p.name(item, f["host"], "host", "host")),
	}
	if m.Name != "" {
		if first, again := names[m.Name]; again {
			p.add(f["name"].at(item), "member %q is declared already in line %d", m.Name, first)
		} else {
			names[m.Name] = f["name"].at(item)
		}
	}
	m.QEMU = p.qemu(item, f["qemu"])
	if m.QEMU == nil || m.Host == "" {
		return m
	}
	line, key := f["qemu"].at(item), string(m.Host)+" "+filepath.Clean(m.QEMU.QMP)
	if first, again := sockets[key]; again {
		p.add(line, "qmp %s on host %s belongs already to the member in line %d", m.QEMU.QMP, m.Host, first)
	} else {
		sockets[key] = line
	}
	return m
}

func (p *parser) qemu(item, n *node) *snapline.QEMU {
	if n.isNull() {
		p.add(n.at(item), "qemu is missing: write qemu: { qmp: /path/of/the/monitor.sock }")
		return nil
	}
	f := p.fields(n, "qemu", "qmp")
	if f == nil {
		return nil
	}
	path, ok := p.text(n, f["qmp"], "qmp")
	if !ok {
		return nil
	}
	if !filepath.IsAbs(path) {
		p.add(f["qmp"].at(n), "qmp %q is not an absolute path", path)
		return nil
	}
	return &snapline.QEMU{QMP: path}
}

// name reads a name that CheckName accepts; "" after a problem.
func (p *parser) name(parent, n *node, key, kind string) string {
	s, ok := p.text(parent, n, key)
	if !ok {
		return ""
	}
	if err := snapline.CheckName(kind, s); err != nil {
		p.add(n.at(parent), "%v", err)
		return ""
	}
	return s
}

// text reads a scalar as it is written: the host 007 is "007".
func (p *parser) text(parent, n *node, key string) (string, bool) {
	if n.isNull() {
		p.add(n.at(parent), "%s is missing", key)
		return "", false
	}
	s, ok := n.scalar()
	if !ok {
		p.add(n.Line, "%s is %s, not a text", key, n.kind())
	}
	return s, ok
}
