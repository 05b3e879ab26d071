package blobtest

import (
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/snapline/snapline/repository/blob"
)

func TestMemory(t *testing.T) {
	Run(t, func(*testing.T) blob.Store { return NewMemory() })
}

func TestMemoryFull(t *testing.T) {
	m := NewMemory()
	m.SetCapacity(100)
	put(t, m, "a", noise(1, 60))
	wantErr(t, "Create beyond the capacity", m.Create(t.Context(), "b", noise(2, 41)), blob.ErrFull)
	put(t, m, "a", noise(1, 90)) // replacing counts the difference
	if n, err := m.Free(t.Context()); n != 10 || err != nil {
		t.Errorf("Free = %d, %v", n, err)
	}
	if err := m.Delete(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	put(t, m, "b", noise(2, 100))
}

func TestDecoratorsPass(t *testing.T) {
	t.Run("crashing", func(t *testing.T) {
		Run(t, func(*testing.T) blob.Store { return Crashing(NewMemory(), 0, Before) })
	})
	t.Run("flaky", func(t *testing.T) {
		Run(t, func(*testing.T) blob.Store { return Flaky(NewMemory(), Sometimes(1, 0)) })
	})
	t.Run("limited", func(t *testing.T) {
		Run(t, func(*testing.T) blob.Store { return blob.Limit(NewMemory(), 1<<30) })
	})
}

// life makes three changes and goes on after errors, as tidying code does.
func life(t *testing.T, s blob.Store) error {
	return errors.Join(
		s.Create(t.Context(), "one", []byte("1")),
		s.Create(t.Context(), "two", []byte("2")),
		s.Delete(t.Context(), "one"))
}

func TestCrashing(t *testing.T) {
	left := map[When][][]string{
		Before: {{}, {"one"}, {"one", "two"}, {"two"}},
		After:  {{"one"}, {"one", "two"}, {"two"}, {"two"}},
	}
	for when, want := range left {
		for n := 1; ; n++ {
			c := Crashing(NewMemory(), n, when)
			err := life(t, c)
			if errors.Is(err, ErrCrashed) != c.Crashed() {
				t.Errorf("%s %d: %v, but Crashed = %v", when, n, err, c.Crashed())
			}
			names, err := Names(t.Context(), c.Survivor(), "")
			if err != nil || !slices.Equal(names, want[n-1]) {
				t.Errorf("crash %s step %d left %q, want %q: %v", when, n, names, want[n-1], err)
			}
			if _, err := c.Size(t.Context(), "two"); c.Crashed() && !errors.Is(err, ErrCrashed) {
				t.Errorf("a dead process read: %v", err)
			}
			if !c.Crashed() {
				if got := c.Ops(); !slices.Equal(got, []string{"create one", "create two", "delete one"}) {
					t.Errorf("Ops = %q", got)
				}
				break
			}
		}
	}
}

func TestFlaky(t *testing.T) {
	m := NewMemory()
	put(t, m, "a", noise(1, 100))
	put(t, m, "b", nil)
	late := false
	s := Flaky(m, func(op Op, _ string) Fault { return Fault{Err: ErrFlaky, Late: late} })
	wantErr(t, "Create", s.Create(t.Context(), "c", nil), ErrFlaky)
	wantNames(t, m, "", "a", "b")
	_, err := s.Get(t.Context(), "a", 0, -1)
	wantErr(t, "Get", err, ErrFlaky)
	late = true
	wantErr(t, "late Create", s.Create(t.Context(), "c", nil), ErrFlaky)
	wantNames(t, m, "", "a", "b", "c")
	r, err := s.Get(t.Context(), "a", 10, -1)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	wantErr(t, "reading a late Get", err, ErrFlaky)
	if len(got) != 45 {
		t.Errorf("a late Get gave %d bytes, not half of 90", len(got))
	}
	names, err := Names(t.Context(), s, "")
	wantErr(t, "late List", err, ErrFlaky)
	if len(names) != 1 {
		t.Errorf("a late List gave %q, not the first of three", names)
	}
}

func TestFlipBit(t *testing.T) {
	m := NewMemory()
	put(t, m, "a", []byte{0, 0})
	if err := FlipBit(t.Context(), m, "a", 9); err != nil {
		t.Fatal(err)
	}
	wantBlob(t, m, "a", []byte{0, 2})
	if err := FlipBit(t.Context(), m, "a", 16); err == nil {
		t.Error("flipped a bit that is not there")
	}
	if err := Truncate(t.Context(), m, "a", 1); err != nil {
		t.Fatal(err)
	}
	wantBlob(t, m, "a", []byte{0})
}
