package protocol

import (
	"fmt"
	"reflect"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/snapline/snapline"
)

// Life is what the machine of a member or of a host is made from: the arguments
// of NewAgent, or of NewRestoreAgent.
type Life struct {
	Member      snapline.MemberName
	Host        snapline.HostName
	Incarnation snapline.Incarnation
}

// Line is one event (an Event's Input, marked "<") or effect (marked ">") of
// one machine as one line of a trace: the time on the machine's own clock in
// milliseconds, who, direction, what. What the machine is made from comes before
// (a Begin, BeginRestore or Life, marked "-"). Golden files, the simulator and
// the log of a running system share this format. Zero fields are left out; all
// others of an event can be read back.
//
//	1198.100 etcd/n1      - Life{Member:n1 Incarnation:a1}
//	1203.250 n1           < Received Cut{etcd/7/n1@a1}
//	1203.250 n1           > SetGate{etcd/7 Rules:{MarkUntil:7100.000 ShieldUntil:7100.000}}
func Line(who string, at snapline.Instant, what any) string {
	direction := "-"
	switch what.(type) {
	case Input:
		direction = "<"
	case Effect:
		direction = ">"
	}
	return fmt.Sprintf("%12s %-12s %s %s", millis(at), who, direction, describe(what))
}

// Entry is a line of a trace taken apart.
type Entry struct {
	At   snapline.Instant
	Who  string
	In   bool   // an event
	Out  bool   // an effect; neither: what the machine is made from
	Kind string // Received, SetGate, …
	Text string // kind and fields
}

// ParseLine takes a line apart that Line has made.
func ParseLine(s string) (Entry, error) {
	f := strings.Fields(s)
	if len(f) < 4 || (f[2] != "<" && f[2] != ">" && f[2] != "-") {
		return Entry{}, fmt.Errorf("trace line %q: want TIME WHO <|>|- WHAT", s)
	}
	at, err := parseMillis(f[0])
	if err != nil {
		return Entry{}, fmt.Errorf("trace line %q: time %q: %w", s, f[0], err)
	}
	_, text, found := strings.Cut(s, " "+f[2]+" ")
	if !found {
		return Entry{}, fmt.Errorf("trace line %q: want single blanks around %s", s, f[2])
	}
	kind := text[:len(text)-len(strings.TrimLeft(text, letters))]
	return Entry{At: at, Who: f[1], In: f[2] == "<", Out: f[2] == ">", Kind: kind, Text: text}, nil
}

const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

// millis prints an instant in milliseconds: three decimals, six where
// nanoseconds say more.
func millis(at snapline.Instant) string {
	sign, n := "", uint64(at)
	if at < 0 {
		sign, n = "-", -n
	}
	s := fmt.Sprintf("%s%d.%06d", sign, n/1e6, n%1e6)
	return strings.TrimSuffix(s, "000")
}

func parseMillis(s string) (snapline.Instant, error) {
	whole, frac, _ := strings.Cut(s, ".")
	if len(frac) > 6 {
		return 0, fmt.Errorf("more than six decimals")
	}
	n, err := strconv.ParseInt(whole+frac+strings.Repeat("0", 6-len(frac)), 10, 64)
	return snapline.Instant(n), err
}

// describe prints a value compactly: the type's name, then its fields.
func describe(what any) string {
	switch v := what.(type) {
	case nil:
		return "nothing"
	case Received:
		return "Received " + describe(v.Msg)
	case RestoreReceived:
		return "Received " + describe(v.Msg)
	case Send:
		return "Send " + describe(v.Msg)
	case RestoreSend:
		to := ""
		if v.Host != "" {
			to = " to " + string(v.Host)
		}
		return "Send " + describe(v.Msg) + to
	}
	v := reflect.ValueOf(what)
	return v.Type().Name() + fields(v)
}

// fields prints a struct's fields that are not zero.
func fields(v reflect.Value) string {
	var b strings.Builder
	b.WriteByte('{')
	for i := range v.NumField() {
		f := v.Field(i)
		if f.IsZero() || !v.Type().Field(i).IsExported() || secret(f) {
			continue
		}
		if b.Len() > 1 {
			b.WriteByte(' ')
		}
		if name := v.Type().Field(i).Name; !obvious(f) {
			b.WriteString(name + ":")
		}
		b.WriteString(value(f))
	}
	if b.Len() == 1 {
		return ""
	}
	return b.String() + "}"
}

// secret reports whether a value is left out of traces: command lines and
// environments hold what is nobody's business, and no machine looks at them.
func secret(v reflect.Value) bool { return v.Type() == reflect.TypeFor[snapline.VMInfo]() }

// obvious reports whether a value explains itself without its field's name.
func obvious(v reflect.Value) bool {
	switch v.Interface().(type) {
	case Ref, RestoreRef, Timer, snapline.Strategy, Phase, RestorePhase:
		return true
	}
	return false
}

func value(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case Ref:
		return fmt.Sprintf("%s/%d/%s%s", x.Group, x.Round, x.Member, life(x.Incarnation))
	case RestoreRef:
		return fmt.Sprintf("%s/%s%s", x.Op, x.Host, life(x.Incarnation))
	case Timer:
		return fmt.Sprintf("%s/%d", x.Name, x.Round)
	case snapline.Instant:
		return millis(x)
	case time.Duration:
		return x.String()
	case snapline.Codepoint:
		return fmt.Sprintf("0x%02x", uint8(x))
	case *snapline.Error:
		return fmt.Sprintf("%s %q", x.Code, x.Error())
	}
	switch v.Kind() {
	case reflect.Struct:
		if s := fields(v); s != "" {
			return s
		}
		return "{}"
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return "nil"
		}
		return value(v.Elem())
	case reflect.Slice, reflect.Array:
		parts := make([]string, v.Len())
		for i := range parts {
			parts[i] = value(v.Index(i))
		}
		return "[" + strings.Join(parts, " ") + "]"
	case reflect.Map:
		parts := []string{}
		for _, k := range v.MapKeys() {
			parts = append(parts, value(k)+":"+value(v.MapIndex(k)))
		}
		sort.Strings(parts)
		return "{" + strings.Join(parts, " ") + "}"
	case reflect.String:
		return word(v.String())
	}
	return fmt.Sprint(v.Interface())
}

// word prints a string bare when no reader could mistake where it ends.
func word(s string) string {
	if s == "" || strings.ContainsAny(s, " \"{}[]\\") || strings.ContainsFunc(s, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}

func life(l snapline.Incarnation) string {
	if l == "" {
		return ""
	}
	return "@" + string(l)
}
