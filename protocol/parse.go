package protocol

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/snapline/snapline"
)

// readable maps the name of what can be read back from a trace, messages aside,
// to its type: inputs, and what a machine is made from. It is only read.
var readable = func() map[string]reflect.Type {
	m := map[string]reflect.Type{}
	for _, v := range []any{Begin{}, BeginRestore{}, Life{},
		Rang{}, Failed{}, Started{}, Lost{}, Cancelled{}, Recorded{},
		Checked{}, ProbesSeen{}, Paused{}, Withheld{}, Snapped{}, GateClosed{}, Kept{}, Gone{}, Dropped{},
		RestoreRang{}, HostLost{}, Acted{}} {
		t := reflect.TypeOf(v)
		m[t.Name()] = t
	}
	return m
}()

// Value reads an event's Input back, or the Begin, BeginRestore or Life that a
// machine is made from: Line prints it as it was, but for a machine's command line
// and environment, which no trace holds. Effects are not read.
func (e Entry) Value() (any, error) {
	if e.Out {
		return nil, fmt.Errorf("trace: %s is an effect", e.Kind)
	}
	text, received := strings.CutPrefix(e.Text, "Received ")
	types := readable
	if received {
		types = kinds
	}
	name := text[:len(text)-len(strings.TrimLeft(text, letters))]
	t, ok := types[name]
	if !ok {
		return nil, fmt.Errorf("trace: nothing is called %q", name)
	}
	v, s := reflect.New(t).Elem(), scanner{rest: text[len(name):]}
	if s.rest != "" {
		if err := s.structure(v); err != nil {
			return nil, fmt.Errorf("trace: %s: %w", name, err)
		}
	}
	if s.rest != "" {
		return nil, fmt.Errorf("trace: %s is followed by %q", name, s.rest)
	}
	switch m := v.Interface().(type) {
	case Message:
		return Received{m}, nil
	case RestoreMessage:
		return RestoreReceived{m}, nil
	default:
		return m, nil
	}
}

// scanner reads what value has printed.
type scanner struct{ rest string }

func (s *scanner) accept(prefix string) bool {
	rest, ok := strings.CutPrefix(s.rest, prefix)
	if ok {
		s.rest = rest
	}
	return ok
}

func (s *scanner) want(prefix string) error {
	if !s.accept(prefix) {
		return fmt.Errorf("want %q before %q", prefix, s.rest)
	}
	return nil
}

// bare reads up to one of the characters that end a word.
func (s *scanner) bare(ends string) string {
	i := strings.IndexAny(s.rest, ends)
	if i < 0 {
		i = len(s.rest)
	}
	w := s.rest[:i]
	s.rest = s.rest[i:]
	return w
}

const wordEnds = " ]}"

// list reads items between two brackets.
func (s *scanner) list(begin, end string, item func() error) error {
	if err := s.want(begin); err != nil {
		return err
	}
	for first := true; !s.accept(end); first = false {
		if !first {
			if err := s.want(" "); err != nil {
				return err
			}
		}
		if err := item(); err != nil {
			return err
		}
	}
	return nil
}

func (s *scanner) structure(v reflect.Value) error {
	next := 0 // of the fields without a name
	return s.list("{", "}", func() error {
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() && !obvious(v.Field(i)) && s.accept(f.Name+":") {
				return s.value(v.Field(i), wordEnds)
			}
		}
		for ; next < v.NumField(); next++ {
			if f := v.Field(next); v.Type().Field(next).IsExported() && obvious(f) && s.plausible(f) {
				next++
				return s.value(f, wordEnds)
			}
		}
		return fmt.Errorf("no field of %s for %q", v.Type().Name(), s.rest)
	})
}

// plausible reports whether what comes next can be a value that explains itself.
func (s *scanner) plausible(v reflect.Value) bool {
	look := *s
	slash := strings.Contains(look.bare(wordEnds), "/")
	return slash == (v.Kind() == reflect.Struct) // references and timers, or words
}

func (s *scanner) value(v reflect.Value, ends string) error {
	switch x := v.Addr().Interface().(type) {
	case *Ref:
		w, l, _ := strings.Cut(s.bare(ends), "@")
		parts := strings.Split(w, "/")
		if len(parts) != 3 {
			return fmt.Errorf("%q is no GROUP/ROUND/MEMBER", w)
		}
		n, err := strconv.ParseUint(parts[1], 10, 64)
		*x = Ref{snapline.GroupName(parts[0]), snapline.Round(n), snapline.MemberName(parts[2]), snapline.Incarnation(l)}
		return err
	case *RestoreRef:
		w, l, _ := strings.Cut(s.bare(ends), "@")
		op, host, _ := strings.Cut(w, "/")
		*x = RestoreRef{snapline.OperationID(op), snapline.HostName(host), snapline.Incarnation(l)}
		return nil
	case *Timer:
		name, round, _ := strings.Cut(s.bare(ends), "/")
		n, err := strconv.ParseUint(round, 10, 64)
		*x = Timer{snapline.Round(n), TimerName(name)}
		return err
	case *snapline.Instant:
		at, err := parseMillis(s.bare(ends))
		*x = at
		return err
	case *time.Duration:
		d, err := time.ParseDuration(s.bare(ends))
		*x = d
		return err
	}
	return s.plain(v, ends)
}

func (s *scanner) plain(v reflect.Value, ends string) error {
	switch v.Kind() {
	case reflect.Struct:
		return s.structure(v)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return s.value(v.Elem(), ends)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 0, 0))
		return s.list("[", "]", func() error {
			e := reflect.New(v.Type().Elem()).Elem()
			err := s.value(e, ends)
			v.Set(reflect.Append(v, e))
			return err
		})
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		return s.list("{", "}", func() error {
			key, e := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			if err := s.value(key, ":"); err != nil {
				return err
			}
			if err := s.want(":"); err != nil {
				return err
			}
			err := s.value(e, ends)
			v.SetMapIndex(key, e)
			return err
		})
	case reflect.String:
		if q, err := strconv.QuotedPrefix(s.rest); err == nil {
			s.rest = s.rest[len(q):]
			w, err := strconv.Unquote(q)
			v.SetString(w)
			return err
		}
		v.SetString(s.bare(ends))
		return nil
	}
	w := s.bare(ends)
	var err error
	switch {
	case v.CanUint():
		var n uint64
		n, err = strconv.ParseUint(w, 0, v.Type().Bits())
		v.SetUint(n)
	case v.CanInt():
		var n int64
		n, err = strconv.ParseInt(w, 10, v.Type().Bits())
		v.SetInt(n)
	case v.CanFloat():
		var f float64
		f, err = strconv.ParseFloat(w, v.Type().Bits())
		v.SetFloat(f)
	case v.Kind() == reflect.Bool:
		v.SetBool(w == "true")
	default:
		err = fmt.Errorf("%s cannot be read", v.Type())
	}
	return err
}
