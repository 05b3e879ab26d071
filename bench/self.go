package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/gentle"
	"github.com/snapline/snapline/repository"
	"github.com/snapline/snapline/repository/blob/dir"
	"github.com/snapline/snapline/repository/page"
)

// selfCommand, as the first argument, makes this program one of the processes
// that are measured: snapline itself keeps its repository open in a daemon, and
// what others are compared with has to begin and end as they do.
const selfCommand = "repository"

// passphrase of every repository here, ours and others'.
const passphrase = "bench"

// member is what the stream of every snapshot is stored as.
const member = "n1"

// self is this program with one of the verbs below.
func self(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "/proc/self/exe", append([]string{selfCommand}, args...)...)
}

// runSelf is the life of such a process.
func runSelf(ctx context.Context, args []string) error {
	if len(args) < 2 {
		return fmt.Errorf("%s VERB FOLDER …", selfCommand)
	}
	verb, folder, rest := args[0], args[1], args[2:]
	if verb == "init" {
		return initRepository(ctx, folder)
	}
	if verb == "work" {
		if err := gentle.Lower(); err != nil {
			return err
		}
		return gentle.Work(ctx, os.Stdin, os.Stdout, func(ctx context.Context) (snapline.Repository, error) { return openRepository(ctx, folder) })
	}
	r, err := openRepository(ctx, folder)
	if err != nil {
		return err
	}
	defer r.Close()
	switch {
	case verb == "put" && len(rest) == 2:
		return putFile(ctx, r, snapline.SnapshotID(rest[0]), rest[1])
	case verb == "generate" && len(rest) == 2:
		return putGenerated(ctx, r, snapline.SnapshotID(rest[0]), rest[1])
	case verb == "open" && len(rest) == 1:
		return readStream(ctx, r, snapline.SnapshotID(rest[0]))
	case verb == "export" && len(rest) == 2:
		return exportFile(ctx, r, snapline.SnapshotID(rest[0]), rest[1])
	}
	return fmt.Errorf("%s %s: no such verb, or not with %d arguments", selfCommand, verb, len(rest))
}

func initRepository(ctx context.Context, folder string) error {
	s, err := dir.Create(folder)
	if err != nil {
		return err
	}
	secret, err := repository.Passphrase(passphrase)
	if err != nil {
		return err
	}
	return repository.Init(ctx, s, secret)
}

// openRepository opens one with its index in the same place each time, as a
// daemon has it.
func openRepository(ctx context.Context, folder string) (*repository.Repository, error) {
	s, err := dir.Open(folder)
	if err != nil {
		return nil, err
	}
	secret, err := repository.Passphrase(passphrase)
	if err != nil {
		return nil, err
	}
	return repository.Open(ctx, s, secret, repository.Options{CacheDir: folder + ".cache"})
}

// putFile stores a stream as a snapshot of one member.
func putFile(ctx context.Context, r *repository.Repository, id snapline.SnapshotID, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return putStream(ctx, r, id, f)
}

func putStream(ctx context.Context, r *repository.Repository, id snapline.SnapshotID, in io.Reader) error {
	group, _, err := id.Split()
	if err != nil {
		return err
	}
	o, err := r.Put(ctx, id, member, in)
	if err != nil {
		return err
	}
	return r.Commit(ctx, snapline.Snapshot{
		Format: snapline.SnapshotFormat, ID: id, TakenAt: time.Now().UTC(),
		Group:   snapline.Group{Name: group, Members: []snapline.Member{{Name: member, Host: "h1"}}},
		Members: []snapline.MemberSnapshot{{Name: member, Host: "h1", Object: o}},
	})
}

// putGenerated stores the stream of a machine of so many GiB.
func putGenerated(ctx context.Context, r *repository.Repository, id snapline.SnapshotID, gib string) error {
	n, err := strconv.ParseInt(gib, 10, 64)
	if err != nil {
		return err
	}
	in, out := io.Pipe()
	defer in.Close() // ends the writer
	go func() { out.CloseWithError(generated(out, n<<30/page.Size)) }()
	return putStream(ctx, r, id, in)
}

// stored finds the member's stream in a snapshot.
func stored(ctx context.Context, r *repository.Repository, id snapline.SnapshotID) (snapline.Object, error) {
	s, err := r.Snapshot(ctx, id)
	if err != nil {
		return snapline.Object{}, err
	}
	m := s.Member(member)
	if m == nil {
		return snapline.Object{}, fmt.Errorf("snapshot %s has no member %s", id, member)
	}
	return m.Object, nil
}

// readStream reads a stream to its end.
func readStream(ctx context.Context, r *repository.Repository, id snapline.SnapshotID) error {
	o, err := stored(ctx, r, id)
	if err != nil {
		return err
	}
	s, err := r.Open(ctx, id, member, o)
	if err != nil {
		return err
	}
	defer s.Close()
	_, err = io.Copy(io.Discard, s)
	return err
}

// exportFile writes the member's memory as a raw image.
func exportFile(ctx context.Context, r *repository.Repository, id snapline.SnapshotID, path string) (err error) {
	o, err := stored(ctx, r, id)
	if err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	n, err := r.ExportRAM(ctx, id, member, o, f)
	if err != nil {
		return err
	}
	return f.Truncate(n)
}
