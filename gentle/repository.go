package gentle

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/snapline/snapline"
)

// Options say how gentle a Repository is.
type Options struct {
	// Command starts a worker, which calls Lower and Work.
	Command []string
	// Processors is how many the worker may use, on average; 0: no limit.
	Processors float64
	// Patience is how long a stream or disk that is being stored gives way to
	// others; 0: DefaultPatience.
	Patience time.Duration
}

// DefaultPatience lets a snapshot end on a host that is always busy.
const DefaultPatience = 2 * time.Minute

// Repository stores by workers, one at a time. Everything else, and what is so
// small that nobody would feel it, is done by the one that it wraps. Safe for
// use from several goroutines.
type Repository struct {
	snapline.Repository
	o    Options
	turn chan struct{}
	// small is what is stored without a worker, in bytes.
	small int64
	// stalls reads the pressure on this host.
	stalls func() (stalls, error)
}

// New wraps a repository. Close closes that.
func New(r snapline.Repository, o Options) *Repository {
	if o.Patience <= 0 {
		o.Patience = DefaultPatience
	}
	return &Repository{Repository: r, o: o, turn: make(chan struct{}, 1), small: defaultSmall, stalls: readStalls}
}

// Close closes the repository below, if it can be closed.
func (r *Repository) Close() error {
	if c, ok := r.Repository.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// Near implements snapline.Cached, for the one below.
func (r *Repository) Near(ctx context.Context, id snapline.SnapshotID, m snapline.MemberSnapshot) (snapline.Nearness, error) {
	if c, ok := r.Repository.(snapline.Cached); ok {
		return c.Near(ctx, id, m)
	}
	return snapline.Nearness{}, nil
}

const defaultSmall = 1 << 20

// Put implements snapline.Repository.
func (r *Repository) Put(ctx context.Context, id snapline.SnapshotID, m snapline.MemberName, in io.Reader) (snapline.Object, error) {
	head := make([]byte, r.small)
	n, err := io.ReadFull(in, head)
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return r.Repository.Put(ctx, id, m, bytes.NewReader(head[:n]))
	case err != nil:
		return snapline.Object{}, fmt.Errorf("store %s of %s: %w", m, id, err)
	}
	return r.work(ctx, request{Snapshot: id, Member: m}, func(s sender) error { return s.stream(io.MultiReader(bytes.NewReader(head), in)) })
}

// PutDisk implements snapline.Repository. A disk on a base has nothing new, and
// is not worth a worker.
func (r *Repository) PutDisk(ctx context.Context, id snapline.SnapshotID, m snapline.MemberName, name string, d snapline.DiskContent) (snapline.Object, error) {
	if d.Size <= r.small || d.Extents == nil || d.Base != nil {
		return r.Repository.PutDisk(ctx, id, m, name, d)
	}
	return r.work(ctx, request{Snapshot: id, Member: m, Disk: name, Size: d.Size}, func(s sender) error { return s.extents(d.Extents) })
}

// work has a worker store what send sends.
func (r *Repository) work(ctx context.Context, q request, send func(sender) error) (snapline.Object, error) {
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-ctx.Done():
		return snapline.Object{}, context.Cause(ctx)
	}
	q.Repository = r.ID()
	caller := ctx
	ctx, cancel := context.WithCancel(caller)
	defer cancel()
	var env []string
	if r.o.Processors > 0 {
		env = []string{"GOMAXPROCS=" + strconv.Itoa(min(runtime.NumCPU(), max(1, int(math.Ceil(r.o.Processors)))))}
	}
	p, err := start(ctx, r.o.Command, env)
	if err != nil {
		return snapline.Object{}, err
	}
	governed := make(chan struct{})
	go func() {
		defer close(governed)
		(&governor{worker: p, share: r.o.Processors, patience: r.o.Patience, stalls: r.stalls}).govern(ctx)
	}()
	a, err := p.converse(q, send)
	if err != nil {
		cancel() // kills it
	}
	ended := p.end()
	cancel()
	<-governed
	if err == nil {
		err = ended
	} else if why := context.Cause(caller); why != nil {
		err = why // the rest follows from it
	} else if said := strings.TrimSpace(p.said.String()); said != "" {
		err = fmt.Errorf("%w: %s", err, said)
	}
	if err != nil {
		return snapline.Object{}, fmt.Errorf("store %s of %s gently: %w", q.Member, q.Snapshot, err)
	}
	return a.Object, a.err()
}

// converse sends everything and waits for the answer. The caller's thread reads
// what is to be stored as the last in line for the disk.
func (p *process) converse(q request, send func(sender) error) (a answer, err error) {
	normal := lastForDisk()
	line, err := json.Marshal(q)
	if err == nil {
		w := bufio.NewWriterSize(p.in, 64<<10)
		if _, err = w.Write(append(line, '\n')); err == nil {
			err = send(sender{w})
		}
		err = errors.Join(err, w.Flush(), p.in.Close())
	}
	normal()
	if errors.As(err, new(sourceError)) {
		return a, err
	}
	// A worker that has failed does not read to the end: its answer says why.
	b, readErr := io.ReadAll(io.LimitReader(p.out, maxLine))
	if unmarshal := json.Unmarshal(b, &a); unmarshal != nil {
		if len(b) == 0 {
			return a, errors.New("the worker has ended without an answer")
		}
		return a, errors.Join(err, readErr, fmt.Errorf("the worker's answer: %w", unmarshal))
	}
	if a.Error != "" {
		return a, nil
	}
	return a, errors.Join(err, readErr)
}
