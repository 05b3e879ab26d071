package cli_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/repository"
	"github.com/snapline/snapline/repository/blob"
	"github.com/snapline/snapline/repository/blob/s3/s3test"
	"github.com/snapline/snapline/repository/location"
)

// golden copies the repository of docs/FORMAT.md's example: golden DIR. It holds
// etcd-7 with one member, and DIR/keyfile opens it.
func golden(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[0])
	ts.Check(os.CopyFS(dir, os.DirFS("../repository/testdata/format2")))
	ts.Check(os.Chmod(filepath.Join(dir, "keyfile"), 0o600))
}

// store commits a snapshot of a member whose memory is the golden one's and
// that has a disk on a backing file; the disk as a guest sees it goes to a file:
//
//	store LOCATION KEYFILE SNAPSHOT DISKFILE
func store(ts *testscript.TestScript, _ bool, args []string) {
	ctx := context.Background()
	key, err := os.ReadFile(ts.MkAbs(args[1]))
	ts.Check(err)
	at := args[0]
	if !strings.Contains(at, "://") {
		at = ts.MkAbs(at)
	}
	r, closeTo := openForTest(ts, at, key)
	defer closeTo()
	goldenKey, err := os.ReadFile("../repository/testdata/format2/keyfile")
	ts.Check(err)
	from, closeFrom := openForTest(ts, "../repository/testdata/format2/repository", goldenKey)
	defer closeFrom()

	id := snapline.SnapshotID(args[2])
	group, round, err := id.Split()
	ts.Check(err)
	src, err := from.Snapshot(ctx, "etcd-7")
	ts.Check(err)
	in, err := from.Open(ctx, "etcd-7", "n1", src.Members[0].Object)
	ts.Check(err)
	stream, err := io.ReadAll(in)
	ts.Check(errors.Join(err, in.Close()))
	m := src.Members[0]
	m.Object, err = r.Put(ctx, id, "n1", bytes.NewReader(stream))
	ts.Check(err)

	disk, below, seen := layers(byte(round))
	m.Disks = []snapline.DiskSnapshot{{DiskInfo: snapline.DiskInfo{ID: "virtio0", Path: "/vms/n1.qcow2", Format: "qcow2", Size: int64(len(seen))}, Name: "disk0",
		Backing: &snapline.BackingSnapshot{DiskInfo: snapline.DiskInfo{Path: "/vms/base.raw", Format: "raw", Size: int64(len(seen))}, Name: "disk0-backing", Digest: "none"}}}
	m.Disks[0].Object, err = r.PutDisk(ctx, id, "n1", "disk0", snapline.DiskContent{Size: int64(len(seen)), Extents: disk})
	ts.Check(err)
	m.Disks[0].Backing.Object, err = r.PutDisk(ctx, id, "n1", "disk0-backing", snapline.DiskContent{Size: int64(len(seen)), Extents: below})
	ts.Check(err)
	src.ID, src.Group.Name, src.Members = id, group, []snapline.MemberSnapshot{m}
	src.TakenAt = time.Date(2026, 11, 22, 10, int(round), 0, 0, time.UTC)
	ts.Check(r.Commit(ctx, src))
	ts.Check(os.WriteFile(ts.MkAbs(args[3]), seen, 0o600))
}

func openForTest(ts *testscript.TestScript, at string, key []byte) (*repository.Repository, func()) {
	s, err := location.Open(context.Background(), at)
	ts.Check(err)
	secret, err := repository.KeyFile(key)
	ts.Check(err)
	r, err := repository.Open(context.Background(), s, secret, repository.Options{})
	ts.Check(err)
	return r, func() { ts.Check(errors.Join(r.Close(), blob.Close(s))) }
}

// layers is a disk of 1 MiB and what lies below it: below is full of letters,
// the disk has one page of its own and one of zeros, and seen is both together.
func layers(mark byte) (disk, below iter.Seq2[snapline.Extent, error], seen []byte) {
	const p = snapline.PageSize
	seen = bytes.Repeat([]byte("below..."), 1<<20/8)
	below = list(snapline.Extent{Length: int64(len(seen)), Data: bytes.Clone(seen)})
	own := bytes.Repeat([]byte{'a', mark}, p/2)
	copy(seen[3*p:], own)
	clear(seen[5*p : 7*p])
	return list(snapline.Extent{Offset: 3 * p, Length: p, Data: own}, snapline.Extent{Offset: 5 * p, Length: 2 * p}), below, seen
}

func list(all ...snapline.Extent) iter.Seq2[snapline.Extent, error] {
	return func(yield func(snapline.Extent, error) bool) {
		for _, e := range all {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// flip alters one bit of the only file that a pattern matches: flip PATTERN BYTE
func flip(ts *testscript.TestScript, _ bool, args []string) {
	names, err := filepath.Glob(ts.MkAbs(args[0]))
	ts.Check(err)
	if len(names) != 1 {
		ts.Fatalf("flip: %d files are %s", len(names), args[0])
	}
	at, err := strconv.Atoi(args[1])
	ts.Check(err)
	b, err := os.ReadFile(names[0])
	ts.Check(err)
	b[at] ^= 1
	ts.Check(os.Chmod(names[0], 0o600))
	ts.Check(os.WriteFile(names[0], b, 0o600))
}

// TestS3 keeps a repository in a bucket of a real server.
func TestS3(t *testing.T) {
	s := s3test.Start(t)
	s.Setenv(t)
	bucket := s.Location(t, "site")
	runScripts(t, "testdata/s3", func(e *testscript.Env) {
		for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} {
			e.Setenv(name, os.Getenv(name))
		}
		e.Setenv("BUCKET", bucket)
		e.Setenv("NOBUCKET", s3test.At(s.Endpoint, "there-is-none", "site"))
	})
}
