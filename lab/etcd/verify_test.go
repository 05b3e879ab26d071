package etcd

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/snapline/snapline/lab/check"
)

var (
	t0     = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	second = func(n int) time.Time { return t0.Add(time.Duration(n) * time.Second) }
)

// history is four writes: two acknowledged before the snapshot was asked for
// in second 10, one after, one whose outcome nobody knows.
func history() (Claim, []Item) {
	claim := Claim{Workers: 2, Began: second(10), Before: Status{ClusterID: 1, Leader: 11, RaftTerm: 2, Members: map[string]uint64{"n1": 11, "n2": 12}}}
	add := func(at int, kind, key, value string, rev int64) {
		claim.Journal = append(claim.Journal, Event{Kind: kind, At: second(at), Key: key, Value: value, Revision: rev})
	}
	add(1, Attempt, "a", "1", 0)
	add(2, Ack, "a", "", 5)
	add(3, Attempt, "b", "2", 0)
	add(4, Ack, "b", "", 6)
	add(11, Attempt, "c", "3", 0)
	add(12, Ack, "c", "", 7)
	add(13, Attempt, "d", "4", 0)
	add(14, Failed, "d", "", 0)
	add(15, Attempt, "e", "5", 0)
	add(16, Ack, "e", "", 8)
	return claim, []Item{{"a", "1", 5}, {"b", "2", 6}}
}

func TestCompareData(t *testing.T) {
	for _, c := range []struct {
		name     string
		alter    func(items []Item) []Item
		revision int64
		fails    string // name of the one check that must fail; "" for none
	}{
		{"cut before the third write", func(i []Item) []Item { return i }, 6, ""},
		{"cut after the third write", func(i []Item) []Item { return append(i, Item{"c", "3", 7}) }, 7, ""},
		{"the unknown write happened", func(i []Item) []Item { return append(i, Item{"c", "3", 7}, Item{"d", "4", 8}) }, 8, ""},
		{"an acknowledged write is gone", func(i []Item) []Item { return i[:1] }, 5, "acknowledged writes present"},
		{"a write from nowhere", func(i []Item) []Item { return append(i, Item{"x", "9", 6}) }, 6, "no write invented"},
		{"another value", func(i []Item) []Item { i[0].Value = "7"; return i }, 6, "values as written"},
		{"writes under way change places", func(i []Item) []Item { return append(i, Item{"d", "4", 7}, Item{"c", "3", 8}) }, 8, ""},
		{"more than were under way change places", func(i []Item) []Item {
			return append(i, Item{"d", "4", 7}, Item{"c", "3", 8}, Item{"e", "5", 9})
		}, 9, "one point in history"},
		{"a write of the future", func(i []Item) []Item { return append(i, Item{"c", "3", 7}) }, 6, "one point in history"},
		{"another order", func(i []Item) []Item { i[0].Revision = 4; return i }, 6, "one point in history"},
	} {
		t.Run(c.name, func(t *testing.T) {
			claim, items := history()
			var list check.List
			compareData(&list, claim, c.alter(items), c.revision)
			onlyFails(t, list, c.fails)
		})
	}
}

func TestCompareDataNeedsWrites(t *testing.T) {
	var list check.List
	compareData(&list, Claim{Began: second(10)}, nil, 1)
	onlyFails(t, list, "acknowledged writes present")
}

func TestCompareStatus(t *testing.T) {
	for name, alter := range map[string]func(*Status){
		"":               func(*Status) {},
		"same cluster":   func(s *Status) { s.ClusterID++ },
		"same members":   func(s *Status) { s.Members["n2"]++ },
		"same leader":    func(s *Status) { s.Leader = 12 },
		"same raft term": func(s *Status) { s.RaftTerm++ },
	} {
		claim, _ := history()
		after, _ := history()
		alter(&after.Before)
		var list check.List
		compareStatus(&list, claim.Before, after.Before)
		onlyFails(t, list, name)
	}
}

func onlyFails(t *testing.T, list check.List, name string) {
	t.Helper()
	if list.OK() != (name == "") {
		t.Errorf("OK is %v, want %q to fail:\n%s", list.OK(), name, list)
	}
	for _, c := range list {
		if c.OK == (c.Name == name) {
			t.Errorf("want %q to fail:\n%s", name, list)
		}
	}
}

func TestLongestGap(t *testing.T) {
	claim, _ := history() // acknowledged in seconds 2, 4, 12 and 16
	for _, c := range []struct {
		from, to time.Time
		want     time.Duration
	}{
		{time.Time{}, time.Time{}, 8 * time.Second},
		{second(5), second(6), 8 * time.Second},
		{time.Time{}, second(3), 2 * time.Second},
		{second(16), time.Time{}, 0},
	} {
		if got := claim.Journal.LongestGap(c.from, c.to); got != c.want {
			t.Errorf("from %v to %v: %v, want %v", c.from, c.to, got, c.want)
		}
	}
	if n := claim.Journal.Acknowledged(second(10)); n != 2 {
		t.Errorf("%d acknowledged before second 10, want 2", n)
	}
}

func FuzzReadJournal(f *testing.F) {
	f.Add([]byte(`{"kind":"attempt","at":"2026-11-22T12:00:00Z","key":"a","value":"1"}` + "\n"))
	f.Add([]byte("{}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		j, err := ReadJournal(bytes.NewReader(data))
		if whole := bytes.Count(data, []byte("\n")); err == nil && len(j) != whole {
			t.Errorf("%d events of %d lines", len(j), whole)
		}
	})
}

func TestReadJournalOfKilledWriter(t *testing.T) {
	line := `{"kind":"ack","at":"2026-11-22T12:00:00Z","key":"a","revision":3}` + "\n"
	j, err := ReadJournal(strings.NewReader(line + line[:20]))
	if err != nil || len(j) != 1 || j[0].Revision != 3 {
		t.Errorf("%+v, %v", j, err)
	}
	if _, err := ReadJournal(strings.NewReader(line[:20] + "\n" + line)); err == nil {
		t.Error("a broken line inside was taken")
	}
}
