package snapline_test

import (
	"strings"
	"testing"

	"github.com/snapline/snapline"
)

func TestCheckName(t *testing.T) {
	for _, good := range []string{"a", "7", "n1", "etcd-main", "0a", strings.Repeat("x", 63)} {
		if err := snapline.CheckName("member", good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", "-", "-a", "a-", "A", "a_b", "a.b", "a b", "a/b", "..", "ä", "a\n", "a*", "a>", strings.Repeat("x", 64)} {
		err := snapline.CheckName("member", bad)
		if err == nil {
			t.Errorf("%q passes as a name", bad)
		} else if !strings.Contains(err.Error(), "member") {
			t.Errorf("%q: the error does not say what is misnamed: %v", bad, err)
		}
	}
}

func TestSnapshotIDSplit(t *testing.T) {
	for _, c := range []struct {
		group snapline.GroupName
		round snapline.Round
		id    snapline.SnapshotID
	}{
		{"etcd", 7, "etcd-7"},
		{"a-b", 1, "a-b-1"},
		{"x-1", 2, "x-1-2"},
		{"g", 1<<64 - 1, "g-18446744073709551615"},
	} {
		if id := snapline.NewSnapshotID(c.group, c.round); id != c.id {
			t.Errorf("NewSnapshotID(%s, %d) = %s, want %s", c.group, c.round, id, c.id)
		}
		g, r, err := c.id.Split()
		if g != c.group || r != c.round || err != nil {
			t.Errorf("%s splits into %q, %d, %v", c.id, g, r, err)
		}
	}
	for _, bad := range []snapline.SnapshotID{"", "-", "-1", "etcd", "etcd-", "etcd-0", "etcd-01", "etcd-+1", "etcd--1",
		"etcd-1x", "etcd- 1", "etcd-18446744073709551616", "Etcd-1", "a/b-1", "../x-1", "etcd-1-"} {
		if g, r, err := bad.Split(); err == nil {
			t.Errorf("%q splits into %q and %d", bad, g, r)
		}
	}
}

// FuzzSnapshotIDSplit wants that whatever splits is the id of its parts.
func FuzzSnapshotIDSplit(f *testing.F) {
	for _, s := range []string{"etcd-7", "a-b-1", "-1", "etcd-01", "etcd-18446744073709551616"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		g, r, err := snapline.SnapshotID(s).Split()
		if err == nil && string(snapline.NewSnapshotID(g, r)) != s {
			t.Errorf("%q splits into %q and %d", s, g, r)
		}
	})
}
