package repotest_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/repotest"
)

func TestMemory(t *testing.T) {
	repotest.Run(t, func(*testing.T) snapline.Repository { return repotest.NewMemory() })
}

func TestFailingThatNeverFails(t *testing.T) {
	repotest.Run(t, func(*testing.T) snapline.Repository {
		return repotest.Failing{Repository: repotest.NewMemory(), Fail: func(repotest.Op, snapline.SnapshotID) error { return nil }}
	})
}

func TestFailing(t *testing.T) {
	broken := errors.New("broken")
	var failing repotest.Op
	r := repotest.Failing{Repository: repotest.NewMemory(), Fail: func(op repotest.Op, _ snapline.SnapshotID) error {
		if op == failing {
			return broken
		}
		return nil
	}}
	for op, call := range map[repotest.Op]func() error{
		repotest.OpFree:     func() error { _, err := r.Free(t.Context()); return err },
		repotest.OpPut:      func() error { _, err := r.Put(t.Context(), "a-1", "n1", bytes.NewReader(nil)); return err },
		repotest.OpOpen:     func() error { _, err := r.Open(t.Context(), "a-1", "n1", snapline.Object{}); return err },
		repotest.OpVerify:   func() error { return r.Verify(t.Context(), "a-1", "n1", snapline.Object{}) },
		repotest.OpCommit:   func() error { return r.Commit(t.Context(), snapline.Snapshot{}) },
		repotest.OpSnapshot: func() error { _, err := r.Snapshot(t.Context(), "a-1"); return err },
		repotest.OpList:     func() error { _, err := r.List(t.Context()); return err },
		repotest.OpDelete:   func() error { return r.Delete(t.Context(), "a-1") },
	} {
		failing = op
		if err := call(); !errors.Is(err, broken) {
			t.Errorf("%s = %v", op, err)
		}
		failing = ""
		if err := call(); errors.Is(err, broken) {
			t.Errorf("%s failed unasked", op)
		}
	}
}

func TestMemoryDamage(t *testing.T) {
	r := repotest.NewMemory()
	o, err := r.Put(t.Context(), "a-1", "n1", bytes.NewReader([]byte("state")))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Commit(t.Context(), repotest.Record("a-1", time.Unix(1, 0), map[snapline.MemberName]snapline.Object{"n1": o})); err != nil {
		t.Fatal(err)
	}
	r.Damage("a-1", "n1")
	if err := r.Verify(t.Context(), "a-1", "n1", o); !errors.Is(err, snapline.ErrDamaged) {
		t.Errorf("Verify = %v", err)
	}
	r.DamageRecord("a-1")
	if _, err := r.Snapshot(t.Context(), "a-1"); !errors.Is(err, snapline.ErrDamaged) {
		t.Errorf("Snapshot = %v", err)
	}
	if list, err := r.List(t.Context()); len(list) != 0 || !errors.Is(err, snapline.ErrDamaged) {
		t.Errorf("List = %v, %v", list, err)
	}
}
