package protocol_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/protocol"
)

func (s *stage) under(who, kind string) (task, error) {
	for i, t := range s.tasks {
		if t.who == who && t.kind() == kind {
			s.tasks = slices.Delete(s.tasks, i, i+1)
			return t, nil
		}
	}
	return task{}, fmt.Errorf("%s has no %s under way", who, kind)
}

func (s *stage) complete(who, kind string, options []string) error {
	t, err := s.under(who, kind)
	if err != nil {
		return err
	}
	r, err := s.result(t, options)
	if err != nil {
		return err
	}
	s.advance(travel)
	s.step(who, r)
	return nil
}

func (s *stage) fail(who, kind, text string) error {
	t, err := s.under(who, kind)
	if err != nil {
		return err
	}
	s.advance(travel)
	if act, ok := t.effect.(protocol.Act); ok {
		s.step(who, protocol.Acted{Op: act.Op, Phase: act.Phase, Reasons: []snapline.Reason{{Text: text}}})
		return nil
	}
	s.step(who, protocol.Failed{Round: s.round, Effect: kind, Reason: snapline.Reason{Text: text}})
	return nil
}

// options of complete.
type options struct {
	reasons []snapline.Reason
	leaked  uint64
	seen    map[uint32]snapline.Codepoint
	err     string
	// coloured: members marked with RESTORED until they were stopped
	coloured bool
	unhushed string
	silent   map[snapline.MemberName]protocol.Silence
}

func (s *stage) options(args []string) (options, error) {
	o := options{seen: map[uint32]snapline.Codepoint{}}
	for i := range s.group.Members {
		o.seen[uint32(i+1)] = snapline.PostCodepoint
	}
	for _, a := range args {
		key, v, _ := strings.Cut(a, "=")
		number, mark, _ := strings.Cut(v, ":")
		n, _ := strconv.ParseUint(number, 0, 32)
		m, _ := strconv.ParseUint(mark, 0, 6)
		switch key {
		case "reason":
			o.reasons = append(o.reasons, snapline.Reason{Text: v})
		case "damaged":
			o.reasons = append(o.reasons, snapline.Reason{Text: v, Damaged: true})
		case "leaked":
			o.leaked = n
		case "unseen":
			delete(o.seen, uint32(n))
		case "seen":
			o.seen[uint32(n)] = snapline.Codepoint(m)
		case "unhushed":
			o.unhushed = v
		case "silent", "heard":
			if o.silent == nil {
				o.silent = map[snapline.MemberName]protocol.Silence{}
			}
			silence := protocol.Silence{Round: s.round, ForNS: 4e9}
			if key == "heard" {
				silence.HeardNS = 1e9
			}
			o.silent[snapline.MemberName(v)] = silence
		case "coloured":
			o.coloured = true
		case "err":
			o.err = v
		default:
			return o, fmt.Errorf("unknown option %q", key)
		}
	}
	return o, nil
}

// result is what an effect that succeeds reports.
func (s *stage) result(t task, args []string) (protocol.Input, error) {
	o, err := s.options(args)
	if err != nil {
		return nil, err
	}
	switch e := t.effect.(type) {
	case protocol.Check:
		if o.reasons != nil {
			return protocol.Checked{Round: e.Round, Reasons: o.reasons}, nil
		}
		return protocol.Checked{Round: e.Round, MACs: []string{"02:00:00:00:00:0" + t.who[1:]}, RAMBytes: 256 << 20, Unhushed: o.unhushed}, nil
	case protocol.ProbePaths:
		delete(o.seen, e.Sender)
		return protocol.ProbesSeen{Round: e.Round, Seen: o.seen}, nil
	case protocol.PauseVM:
		return protocol.Paused{Round: e.Round}, nil
	case protocol.Snap:
		return protocol.Snapped{Round: e.Round, Report: snapline.CaptureReport{Method: "background-snapshot", PauseMS: 4.5}, Leaked: o.leaked}, nil
	case protocol.CloseGate:
		return protocol.GateClosed{Round: e.Round, Counters: snapline.GateCounters{Out: 20, In: 30, Marked: 2, Withheld: 1}}, nil
	case protocol.Store:
		return protocol.Kept{Round: e.Round, Part: snapline.MemberSnapshot{Name: snapline.MemberName(t.who), Object: snapline.Object{Digest: "d1" + t.who, RawBytes: 256 << 20, StoredBytes: 9 << 20}}}, nil
	case protocol.Drop:
		return protocol.Dropped{Round: e.Round}, nil
	case protocol.Record:
		return protocol.Recorded{Err: o.err}, nil
	case protocol.Act:
		return acted(e, o), nil
	}
	return nil, fmt.Errorf("nothing completes %T", t.effect)
}

func acted(e protocol.Act, o options) protocol.Acted {
	a := protocol.Acted{Op: e.Op, Phase: e.Phase, Reasons: o.reasons, Coloured: o.coloured, Silent: o.silent}
	if o.reasons == nil && e.Phase == protocol.RestoreLoad {
		a.LoadMS = map[snapline.MemberName]float64{}
		for _, m := range e.Plan.Members {
			a.LoadMS[m.Name] = 800
		}
	}
	if o.reasons == nil && e.Phase == protocol.RestoreReplay {
		a.Packets = 3 * len(e.Plan.Members)
	}
	return a
}
