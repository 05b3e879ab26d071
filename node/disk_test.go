package node_test

import (
	"errors"
	"testing"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/repotest"
)

// withDisks gives n1 two disks, the second on a backing file.
func (s *site) withDisks() (vda, vdb *fakeDisk) {
	vda, vdb = &fakeDisk{id: "vda", content: "written by n1"}, &fakeDisk{id: "vdb", content: "more", below: "an installation"}
	s.cloud.find("h1", "n1").disks = []*fakeDisk{vda, vdb}
	return vda, vdb
}

func TestDisksComeBack(t *testing.T) {
	s := newSite(t)
	vda, vdb := s.withDisks()
	first := s.mustTake()
	vda.content = "written later"
	second := s.mustTake()
	if n := vdb.read.Load(); n != 1 {
		t.Errorf("the backing file was read %d times: its digest is the same", n)
	}
	if vda.frozen.Load() != 0 || vdb.frozen.Load() != 0 {
		t.Error("disks were left frozen")
	}
	for id, want := range map[snapline.SnapshotID]string{first: "written by n1", second: "written later"} {
		if op := s.restore(id, map[snapline.MemberName]snapline.HostName{"n1": "h2"}); op.Error != nil {
			t.Fatal(op.Error)
		}
		got := s.cloud.find("h2", "n1").disks
		if len(got) != 2 || got[0].content != want || got[1].content != "more" || got[1].below != "an installation" {
			t.Errorf("%s came back with %+v", id, got)
		}
	}
	// What the first snapshot had of the backing file may go: the others have it.
	if err := s.c.Delete(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	if op := s.restore(second, nil); op.Error != nil {
		t.Error(op.Error)
	}
}

func TestDisksAreReleasedWhenStoringFails(t *testing.T) {
	s := newSite(t)
	vda, vdb := s.withDisks()
	s.repo.failPut.Store(true)
	op, _ := s.follow(s.c.Take(t.Context(), snapline.TakeRequest{Group: "g"}))
	if op.Error == nil {
		t.Fatal("taken")
	}
	eventually(t, "disks are released", func() bool { return vda.frozen.Load() == 0 && vdb.frozen.Load() == 0 })
	s.repo.failPut.Store(false)
	s.mustTake()
}

func TestDamagedDiskRefusesTheRestore(t *testing.T) {
	s := newSite(t)
	s.withDisks()
	id := s.mustTake()
	s.repo.Repository.(*repotest.Memory).Damage(id, "n1.disk1-backing")
	op := s.restore(id, nil)
	if op.Error == nil || op.Error.Code != snapline.CodeDamaged {
		t.Fatalf("%+v", op.Error)
	}
	if vm := s.cloud.find("h1", "n1"); vm == nil || vm.now() != "running, state of n1" {
		t.Error("n1 was touched")
	}
}

var errFull = errors.New("no space left")
