package repository

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/repository/blob/blobtest"
	"github.com/snapline/snapline/repository/index"
	"github.com/snapline/snapline/repository/page"
	"github.com/snapline/snapline/repository/seal"
)

// small is the stream of a machine of 100 pages.
func small(t *testing.T, seed uint64) []byte {
	t.Helper()
	b, err := io.ReadAll(guestLike(100, seed, nil).stream())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestFlippedBits alters each blob at many places. Somebody must notice:
// whoever opens the repository, Verify, or a deep Check; and nobody may ever
// read other bytes than were stored.
func TestFlippedBits(t *testing.T) {
	good := blobtest.NewMemory()
	r := create(t, good)
	o := stored(t, r, id, small(t, 1))
	want, err := readAll(t, r, id, o) // the stream in its order
	if err != nil {
		t.Fatal(err)
	}
	names, err := blobtest.Names(t.Context(), good, "")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]int{}
	for _, name := range names {
		n, err := good.Size(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		step := max(1, n*8/150) | 1 // every place within a byte, too
		for bit := int64(0); bit < n*8; bit += step {
			bad := good.Clone()
			if err := blobtest.FlipBit(t.Context(), bad, name, bit); err != nil {
				t.Fatal(err)
			}
			who := notice(t, bad, o, want)
			if who == "" {
				t.Errorf("%s: nobody notices bit %d of %d", name, bit, n*8)
			}
			found[verb(name)+" by "+who]++
		}
		for _, length := range []int64{0, 1, 31, n / 2, n - 1} {
			bad := good.Clone()
			if err := blobtest.Truncate(t.Context(), bad, name, min(length, n-1)); err != nil {
				t.Fatal(err)
			}
			if notice(t, bad, o, want) == "" {
				t.Errorf("%s: nobody notices that it is cut to %d of %d bytes", name, length, n)
			}
		}
		bad := good.Clone()
		if err := bad.Delete(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		if who := notice(t, bad, o, want); who == "" {
			t.Errorf("%s: nobody notices that it is missing", name)
		}
	}
	t.Log(found)
}

// notice returns who finds out that a store is damaged.
func notice(t *testing.T, s *blobtest.Memory, o snapline.Object, want []byte) string {
	t.Helper()
	r, err := Open(t.Context(), s, secret(t), Options{})
	if err != nil {
		return "open"
	}
	defer r.Close()
	verifyErr := r.Verify(t.Context(), id, "n1", o)
	if got, err := readAll(t, r, id, o); err == nil && !bytes.Equal(got, want) || (err == nil) != (verifyErr == nil) {
		t.Errorf("Verify says %v, and then %d bytes are read, %v", verifyErr, len(got), err)
	}
	if verifyErr != nil {
		if text := verifyErr.Error(); !errors.Is(verifyErr, snapline.ErrDamaged) || !strings.Contains(text, "n1 of etcd-7") {
			t.Errorf("Verify says %v", verifyErr)
		}
		return "verify"
	}
	c, err := r.Check(t.Context(), true)
	if err != nil {
		return "check's error"
	}
	if len(c.Problems) > 0 || c.Snapshots != 1 {
		return "check"
	}
	return ""
}

// TestDamageIsNamed: which snapshot, member, part and pages.
func TestDamageIsNamed(t *testing.T) {
	store := blobtest.NewMemory()
	r := create(t, store)
	one := stored(t, r, "etcd-1", small(t, 1))
	two := stored(t, r, "etcd-2", small(t, 2))
	names, err := blobtest.Names(t.Context(), store, packPrefix)
	if err != nil || len(names) != 2 {
		t.Fatalf("%q, %v", names, err)
	}
	if r.Verify(t.Context(), "etcd-1", "n1", one) != nil || r.VerifyQuick(t.Context(), "etcd-2", "n1", two) != nil {
		t.Fatal("damaged from the start")
	}
	// The first frame of the pack that etcd-1 has written.
	name := names[0]
	var loc string
	for _, s := range names {
		_ = r.eachLoc(t.Context(), mustRoot(t, r, "etcd-1").Maps[0], func(_ int64, l index.Loc) error {
			if packName(l.Pack) == s && l.Offset == 32 {
				name, loc = s, s
			}
			return nil
		})
	}
	if loc == "" {
		t.Fatal("etcd-1 has no first frame")
	}
	if err := blobtest.FlipBit(t.Context(), store, name, 8*100); err != nil {
		t.Fatal(err)
	}
	fresh := reopen(t, store, Options{})
	err = fresh.Verify(t.Context(), "etcd-1", "n1", one)
	if !errors.Is(err, snapline.ErrDamaged) {
		t.Fatalf("Verify = %v", err)
	}
	for _, want := range []string{"verify n1 of etcd-1: RAM block pc.ram: pages 5 to ", name, "bytes 32 to "} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
	if err := fresh.Verify(t.Context(), "etcd-2", "n1", two); err != nil {
		t.Errorf("the other snapshot: %v", err)
	}
	if err := fresh.VerifyQuick(t.Context(), "etcd-1", "n1", one); err != nil {
		t.Errorf("VerifyQuick reads no pages: %v", err)
	}
	c, err := fresh.Check(t.Context(), true)
	if err != nil || len(c.Problems) < 2 {
		t.Fatalf("check: %+v, %v", c, err)
	}
	var pages int64
	for _, p := range c.Problems {
		if p.Pages {
			pages += p.Last - p.First + 1
		}
		if p.Snapshot != "" && (p.Snapshot != "etcd-1" || p.Object != "n1" || p.Part == "" || p.Blob != name) {
			t.Errorf("check blames %s", p)
		}
	}
	if pages < 60 {
		t.Errorf("check names %d pages: %v", pages, c.Problems)
	}
	if err := store.Delete(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if err := fresh.VerifyQuick(t.Context(), "etcd-1", "n1", one); !errors.Is(err, snapline.ErrDamaged) {
		t.Errorf("VerifyQuick without the pack: %v", err)
	}
}

// TestVerifyHashes: a writer whose memory fails between a page's id and its seal
// leaves a frame that authenticates and holds something else. Reading trusts the
// seal; Verify, which every restore begins with, and a deep Check do not.
func TestVerifyHashes(t *testing.T) {
	store := blobtest.NewMemory()
	r := create(t, store)
	o := stored(t, r, id, ram(1, 1<<20))
	names, err := blobtest.Names(t.Context(), store, packPrefix)
	if err != nil || len(names) != 1 {
		t.Fatalf("%q, %v", names, err)
	}
	b, err := blobtest.Read(t.Context(), store, names[0])
	if err != nil {
		t.Fatal(err)
	}
	packID, _ := parsePackName(names[0])
	c, err := readFooter(r.master, packID, b)
	if err != nil {
		t.Fatal(err)
	}
	f := c.Frames[0]
	aead := r.master.AEAD(packID[:])
	objects, err := r.codec.Open(nil, aead, f.Kind, f.Offset, bytes.Clone(b[f.Offset:][:f.Length]))
	if err != nil {
		t.Fatal(err)
	}
	objects[3*page.Size] ^= 1
	sealed := aead.Seal(nil, seal.Nonce(f.Offset), r.codec.Compress(nil, objects), []byte{'F', byte(f.Kind)})
	if int64(len(sealed)) != f.Length {
		t.Fatalf("the altered frame has %d bytes, not %d", len(sealed), f.Length)
	}
	copy(b[f.Offset:], sealed)
	if err := store.Put(t.Context(), names[0], int64(len(b)), bytes.NewReader(b)); err != nil {
		t.Fatal(err)
	}
	fresh := reopen(t, store, Options{})
	err = fresh.Verify(t.Context(), id, "n1", o)
	if want := "verify n1 of etcd-7: damaged: page 9 is not page " + f.IDs[3].String(); !errors.Is(err, snapline.ErrDamaged) || !strings.Contains(err.Error(), want) {
		t.Errorf("Verify = %v, want %s", err, want) // of ram, each third page is stored
	}
	report, err := fresh.Check(t.Context(), true)
	if err != nil || len(report.Problems) == 0 {
		t.Errorf("check: %+v, %v", report, err)
	}
	if _, err := readAll(t, fresh, id, o); err != nil {
		t.Errorf("reading looks at the seal alone, and says %v", err)
	}
}

func mustRoot(t *testing.T, r *Repository, id snapline.SnapshotID) *root {
	t.Helper()
	rt, _, err := r.anyRoot(t.Context(), id, "n1")
	if err != nil {
		t.Fatal(err)
	}
	return rt
}

// TestRepairIndex makes it anew, and after a lost pack a new snapshot of the
// same machine stores again what is missing.
func TestRepairIndex(t *testing.T) {
	store := blobtest.NewMemory()
	r := create(t, store)
	stream := ram(1, 4<<20)
	o := stored(t, r, "etcd-1", stream)
	indexes, err := blobtest.Names(t.Context(), store, indexPrefix)
	if err != nil || len(indexes) != 1 {
		t.Fatalf("%q, %v", indexes, err)
	}
	if err := blobtest.FlipBit(t.Context(), store, indexes[0], 999); err != nil {
		t.Fatal(err)
	}
	fresh := reopen(t, store, Options{})
	if err := fresh.Verify(t.Context(), "etcd-1", "n1", o); err == nil || !strings.Contains(err.Error(), "snapline repo repair") {
		t.Errorf("Verify = %v", err)
	}
	if n, err := fresh.RepairIndex(t.Context(), nil); err != nil || n != 1 {
		t.Errorf("repair: %d packs, %v", n, err)
	}
	wantStream(t, fresh, "etcd-1", stream)
	wantClean(t, fresh)

	packs, err := blobtest.Names(t.Context(), store, packPrefix)
	if err != nil || len(packs) != 1 {
		t.Fatalf("%q, %v", packs, err)
	}
	if err := blobtest.Truncate(t.Context(), store, packs[0], 1000); err != nil {
		t.Fatal(err)
	}
	if n, err := fresh.RepairIndex(t.Context(), nil); !errors.Is(err, snapline.ErrDamaged) || n != 0 {
		t.Errorf("repair: %d packs, %v", n, err)
	}
	again := stored(t, fresh, "etcd-2", stream)
	if again.StoredBytes < o.StoredBytes/2 {
		t.Errorf("only %d bytes were stored again", again.StoredBytes)
	}
	wantStream(t, fresh, "etcd-2", stream)
	wantStream(t, fresh, "etcd-1", stream) // it has come back
}

// TestNoConfusion: a blob under another's name is damage.
func TestNoConfusion(t *testing.T) {
	store := blobtest.NewMemory()
	r := create(t, store)
	stored(t, r, "etcd-1", small(t, 1))
	stored(t, r, "etcd-2", small(t, 2))
	for _, prefix := range []string{packPrefix, indexPrefix, rootPrefix, manifestPrefix} {
		names, err := blobtest.Names(t.Context(), store, prefix)
		if err != nil || len(names) != 2 {
			t.Fatalf("%q, %v", names, err)
		}
		bad := store.Clone()
		b, err := blobtest.Read(t.Context(), bad, names[0])
		if err != nil {
			t.Fatal(err)
		}
		if err := bad.Put(t.Context(), names[1], int64(len(b)), bytes.NewReader(b)); err != nil {
			t.Fatal(err)
		}
		c, err := reopen(t, bad, Options{}).Check(t.Context(), true)
		if err != nil || len(c.Problems) == 0 {
			t.Errorf("%s in the place of %s: %+v, %v", names[0], names[1], c, err)
		}
	}
	if s := fmt.Sprint(Problem{Snapshot: "a-1", Object: "n1", Part: "disk", Pages: true, First: 3, Last: 9, Text: "gone"}); s != "a-1: n1: disk: pages 3 to 9: gone" {
		t.Errorf("a problem reads %q", s)
	}
}
