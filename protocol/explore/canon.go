package explore

import (
	"crypto/sha256"
	"encoding/binary"
	"reflect"
	"sort"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/protocol"
)

// key identifies a machine, a message or a state: equal keys, equal futures.
type key [16]byte

func keyOf(b []byte) key {
	sum := sha256.Sum256(b)
	return key(sum[:16])
}

// ignored fields are for reports and never decide what a machine does; with them
// equal futures would look different. The simulation covers what they hold.
var ignored = map[string]bool{"Why": true, "Text": true, "cutAt": true, "cutReport": true, "began": true, "release": true,
	"AgoNS": true, "counters": true, "Counters": true, "report": true, "Report": true}

// presence fields decide by being there, not by what they hold.
var presence = map[string]bool{"problem": true, "refusal": true, "Reasons": true}

// derived fields follow from which member it is, and from there being others.
// Where members are alike they would only tell one from another.
var derived = map[string]bool{"number": true, "Sender": true, "Targets": true}

// mutual fields hold one entry for each other member, always all of them.
var mutual = map[string]bool{"seen": true, "Seen": true}

// rested fields of an agent are stale once it is idle, or will be.
var rested = map[string]bool{"cutBy": true, "gateBy": true, "cutAt": true, "spec": true, "prepared": true}

// past is how far back an instant is told from one further back. It is longer
// than any deadline, so that older ones have passed in the same way.
const past = -5 * tick

// canonizer encodes what machines hold. Instants are taken relative to now: two
// states that differ by a shift in time have equal futures.
type canonizer struct {
	now    snapline.Instant
	rested bool
	plans  map[reflect.Type][]treatment // what to do with each field; filled as types come
	alike  bool                         // members are interchangeable
	self   string                       // the number of the member that this is about, if they are
}

// of returns the canonizer for what is about one member: its names are encoded as
// nobody's, so that two members in the same situation look the same.
func (c canonizer) of(i int8) canonizer {
	if c.alike {
		c.self = string('1' + rune(i))
	}
	return c
}

// name leaves out which member a name is of: n2, h2, n2.1 (a life), n2/1 (an object).
func (c canonizer) name(s string) string {
	if c.self == "" || len(s) < 2 || s[0] != 'n' && s[0] != 'h' || s[1:2] != c.self || len(s) > 2 && s[2] != '.' && s[2] != '/' {
		return s
	}
	return s[:1] + s[2:]
}

// treatment says how a field enters a key.
type treatment uint8

const (
	whole treatment = iota
	whetherThere
	unlessRested
	leftOut
)

func (c canonizer) plan(t reflect.Type) []treatment {
	if p, ok := c.plans[t]; ok {
		return p
	}
	p := make([]treatment, t.NumField())
	for i := range p {
		switch name := t.Field(i).Name; {
		case ignored[name], c.alike && derived[name], t == coordinatorType && name == "members":
			p[i] = leftOut
		case rested[name]:
			p[i] = unlessRested
		case presence[name], c.alike && mutual[name]:
			p[i] = whetherThere
		}
	}
	c.plans[t] = p
	return p
}

func (c canonizer) agent(a *protocol.Agent) key {
	c.rested = a.State() == protocol.AgentIdle || a.State() == protocol.AgentDropping
	return keyOf(c.canon(make([]byte, 0, 512), reflect.ValueOf(a)))
}

// coordinator is what the coordinator holds beside what it knows of members.
func (c canonizer) coordinator(m *protocol.Coordinator) key {
	return keyOf(c.canon(make([]byte, 0, 512), reflect.ValueOf(m)))
}

// knowledge is what the coordinator knows of one member.
func (c canonizer) knowledge(m *protocol.Coordinator, i int8) key {
	return keyOf(c.of(i).canon(make([]byte, 0, 512), reflect.ValueOf(m).Elem().FieldByName("members").Index(int(i))))
}

var coordinatorType = reflect.TypeFor[protocol.Coordinator]()

func (c canonizer) instant(b []byte, at snapline.Instant) []byte {
	return binary.AppendVarint(b, int64(max(at.Sub(c.now), past)))
}

var instantType = reflect.TypeFor[snapline.Instant]()

// canon appends everything that v holds, unexported fields too. Interfaces and
// pointers are followed, maps are sorted.
func (c canonizer) canon(b []byte, v reflect.Value) []byte {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return append(b, 0)
		}
		b = append(b, 1)
		if v.Kind() == reflect.Interface {
			b = append(append(b, v.Elem().Type().Name()...), 0)
		}
		return c.canon(b, v.Elem())
	case reflect.Struct:
		for i, t := range c.plan(v.Type()) {
			switch {
			case t == leftOut, t == unlessRested && c.rested:
			case t == whetherThere:
				b = append(b, present(v.Field(i)))
			default:
				b = c.canon(b, v.Field(i))
			}
		}
		return b
	case reflect.Slice, reflect.Array:
		b = binary.AppendUvarint(b, uint64(v.Len()))
		for i := range v.Len() {
			b = c.canon(b, v.Index(i))
		}
		return b
	case reflect.Map:
		entries := make([]string, 0, v.Len())
		for it := v.MapRange(); it.Next(); {
			entries = append(entries, string(c.canon(c.canon(nil, it.Key()), it.Value())))
		}
		sort.Strings(entries)
		b = append(binary.AppendUvarint(b, uint64(len(entries))), present(v))
		for _, e := range entries {
			b = append(b, e...)
		}
		return b
	case reflect.String:
		return append(append(b, c.name(v.String())...), 0)
	case reflect.Bool:
		if v.Bool() {
			return append(b, 1)
		}
		return append(b, 0)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		if v.Type() == instantType {
			return c.instant(b, snapline.Instant(v.Int()))
		}
		return binary.AppendVarint(b, v.Int())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return binary.AppendUvarint(b, v.Uint())
	case reflect.Float64, reflect.Float32:
		return binary.AppendUvarint(b, uint64(v.Float()*1e6))
	}
	panic("explore: a machine holds a " + v.Kind().String())
}

func present(v reflect.Value) byte {
	if v.IsNil() || v.Kind() == reflect.Slice && v.Len() == 0 {
		return 0
	}
	return 1
}
