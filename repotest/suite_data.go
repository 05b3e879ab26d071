package repotest

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/snapline/snapline"
)

func testStreams(t *testing.T, r snapline.Repository) {
	for m, stream := range map[snapline.MemberName][]byte{
		"empty": nil, "short": []byte("x"), "zeros": make([]byte, 9<<20), "random": random(3 << 20),
	} {
		o := put(t, r, id, m, stream)
		got, err := read(t.Context(), r, id, m, o)
		if err != nil || !bytes.Equal(got, stream) {
			t.Errorf("%s: read %d bytes of %d, %v", m, len(got), len(stream), err)
		}
		if err := r.Verify(t.Context(), id, m, o); err != nil {
			t.Errorf("Verify(%s): %v", m, err)
		}
	}
}

func testReplace(t *testing.T, r snapline.Repository) {
	first := put(t, r, id, "n1", []byte("first"))
	second := put(t, r, id, "n1", []byte("second attempt"))
	got, err := read(t.Context(), r, id, "n1", second)
	if err != nil || string(got) != "second attempt" {
		t.Errorf("read %q, %v", got, err)
	}
	want(t, "Verify of the first attempt", r.Verify(t.Context(), id, "n1", first), snapline.ErrDamaged)
}

func testFailingStream(t *testing.T, r snapline.Repository) {
	broken := errors.New("the spool broke")
	_, err := r.Put(t.Context(), id, "n1", io.MultiReader(bytes.NewReader(random(1<<20)), failingReader{broken}))
	want(t, "Put", err, broken)
	want(t, "Delete of nothing", r.Delete(t.Context(), id), snapline.ErrNotFound)
	put(t, r, id, "n1", []byte("again"))
}

type failingReader struct{ err error }

func (f failingReader) Read([]byte) (int, error) { return 0, f.err }

func testMembersAtOnce(t *testing.T, r snapline.Repository) {
	type result struct {
		m   snapline.MemberName
		o   snapline.Object
		err error
	}
	members := []snapline.MemberName{"n1", "n2", "n3", "n4", "n5", "n6"}
	results := make(chan result)
	for i, m := range members {
		go func() {
			var in io.Reader = bytes.NewReader(bytes.Repeat([]byte(m), 100_000))
			if i%2 == 1 { // every other one fails, and must not disturb its neighbours
				in = failingReader{io.ErrClosedPipe}
			}
			o, err := r.Put(t.Context(), id, m, in)
			results <- result{m, o, err}
		}()
	}
	objects := map[snapline.MemberName]snapline.Object{}
	for range members {
		switch g := <-results; {
		case g.err == nil:
			objects[g.m] = g.o
		case !errors.Is(g.err, io.ErrClosedPipe):
			t.Errorf("Put(%s): %v", g.m, g.err)
		}
	}
	if len(objects) != 3 {
		t.Fatalf("%d members were stored, want 3", len(objects))
	}
	if err := r.Commit(t.Context(), Record(id, noon(), objects)); err != nil {
		t.Error(err)
	}
}

func testOtherObject(t *testing.T, r snapline.Repository) {
	good := put(t, r, id, "n1", bytes.Repeat([]byte("state"), 1000))
	for name, alter := range map[string]func(*snapline.Object){
		"digest":        func(o *snapline.Object) { o.Digest = put(t, r, id, "n2", []byte("other")).Digest },
		"stored bytes":  func(o *snapline.Object) { o.StoredBytes++ },
		"nothing there": func(o *snapline.Object) { *o = snapline.Object{} },
	} {
		o := good
		alter(&o)
		_, err := read(t.Context(), r, id, "n1", o)
		want(t, "read with other "+name, err, snapline.ErrDamaged)
		want(t, "Verify with other "+name, r.Verify(t.Context(), id, "n1", o), snapline.ErrDamaged)
	}
	for _, d := range []int64{-1, 1} {
		o := good
		o.RawBytes += d
		_, err := read(t.Context(), r, id, "n1", o)
		want(t, "read with another length", err, snapline.ErrDamaged)
	}
	_, err := read(t.Context(), r, id, "missing", good)
	want(t, "read of a member that was not stored", err, snapline.ErrDamaged)
	want(t, "Verify of it", r.Verify(t.Context(), id, "missing", good), snapline.ErrDamaged)
	if got, err := read(t.Context(), r, id, "n1", good); err != nil || len(got) != 5000 {
		t.Errorf("the right object: %d bytes, %v", len(got), err)
	}
}
