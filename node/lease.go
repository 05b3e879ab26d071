package node

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/snapline/snapline"
)

// leaseKey is where the store keeps who uses the repository. It is one value,
// so that every change of it is one Swap, and several coordinators that share
// the store exclude each other by it.
const leaseKey = "lease.repository"

// leaseRecord is many rounds, or one maintenance, or nobody.
type leaseRecord struct {
	// Epoch grows when a coordinator takes over; leases of older ones are void.
	Epoch   uint64  `json:"epoch"`
	Holders []lease `json:"holders,omitempty"`
}

// The kinds of leases. Rounds share the repository, the others do not.
const (
	leaseRound  = "round"
	leasePrune  = kindPrune
	leaseRepair = kindRepair
)

// lease is one use of the repository.
type lease struct {
	Owner string    `json:"owner"` // one life of a coordinator
	Epoch uint64    `json:"epoch"` // in which it was given
	Kind  string    `json:"kind"`
	For   string    `json:"for"` // a snapshot's id, or an operation's
	Since time.Time `json:"since"`
	// Wanted marks a maintenance that lets no more rounds in, and waits for those
	// that are under way.
	Wanted bool `json:"wanted,omitempty"`
}

func (l lease) String() string {
	if l.Kind == leaseRound {
		return "the round of " + l.For
	}
	return l.Kind + " (operation " + l.For + ")"
}

func (r *leaseRecord) maintenance() *lease {
	if i := slices.IndexFunc(r.Holders, func(l lease) bool { return l.Kind != leaseRound }); i >= 0 {
		return &r.Holders[i]
	}
	return nil
}

func (r *leaseRecord) rounds() (list []lease) {
	for _, l := range r.Holders {
		if l.Kind == leaseRound {
			list = append(list, l)
		}
	}
	return list
}

// leaseLimits say how long one waits for another.
type leaseLimits struct {
	// round bounds a round's wait for a maintenance.
	round time.Duration
	// patience is how long a maintenance waits for a moment without rounds before
	// it lets no more of them begin; insist how long it then waits for those that
	// are under way.
	patience, insist time.Duration
	// poll is how often another coordinator's changes are looked for.
	poll time.Duration
}

var defaultLeaseLimits = leaseLimits{round: 10 * time.Minute, patience: 10 * time.Minute, insist: 10 * time.Minute, poll: time.Second}

// leases gives out the uses of the repository. Safe for use from several
// goroutines.
type leases struct {
	store  snapline.Store
	clock  Clock
	log    *slog.Logger
	owner  string
	limits leaseLimits
	ctx    context.Context // of the coordinator's Run

	mu      sync.Mutex
	changed chan struct{} // closed and replaced when we have changed the record
	waiting int           // rounds of ours that wait for a maintenance
	epoch   uint64        // in which we give leases
}

func newLeases(s snapline.Store, c Clock, log *slog.Logger) *leases {
	return &leases{store: s, clock: c, log: log, owner: strings.ToLower(rand.Text()), limits: defaultLeaseLimits, changed: make(chan struct{})}
}

// takeOver voids the leases of those who led before, and returns them. They are
// dead, or will find out before they do harm: they are given no more leases; a
// round exists only by its coordinator's Commit, which looks at the lease and is
// refused once the round has been given up; a prune runs in the coordinator's own
// process, and looks at its lease before it deletes. So nobody waits for the
// dead, and no lease needs a clock. Who leads is decided before: a coordinator
// that does not lead holds no lease, and voids none.
func (l *leases) takeOver(ctx context.Context) (voided []lease, err error) {
	l.ctx = ctx
	var epoch uint64
	err = l.update(ctx, func(r *leaseRecord) error {
		r.Epoch++
		epoch, voided, r.Holders = r.Epoch, r.Holders, nil
		return nil
	})
	for _, h := range voided {
		l.log.Info("lease of an earlier coordinator ended", "lease", h.String(), "since", h.Since)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.epoch = epoch
	return voided, err
}

// deposed reports whether somebody has taken the leases over from us.
func (l *leases) deposed(r *leaseRecord) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return r.Epoch != l.epoch
}

// blocked says that somebody else uses the repository now.
type blocked struct{ by []lease }

func (b blocked) Error() string {
	if len(b.by) == 0 {
		return "waiting for rounds that were here first"
	}
	var names []string
	for _, l := range b.by {
		names = append(names, l.String())
	}
	return "waiting for " + strings.Join(names, ", ")
}

// heldLease is a lease that was given to us.
type heldLease struct {
	of *leases
	lease
}

// shared gets a round's lease. It waits while a maintenance has the repository;
// waits, if not nil, is told for what. CodeBusy when that takes too long: no
// machine has been touched.
func (l *leases) shared(ctx context.Context, id snapline.SnapshotID, waits func(string)) (*heldLease, error) {
	h := &heldLease{of: l, lease: lease{Kind: leaseRound, For: string(id)}}
	l.wait(1)
	defer l.wait(-1)
	err := l.until(ctx, l.limits.round, waits, func(ctx context.Context) error {
		return l.update(ctx, func(r *leaseRecord) error {
			if l.deposed(r) {
				return deposed()
			}
			if m := r.maintenance(); m != nil {
				return blocked{[]lease{*m}}
			}
			l.grant(r, h)
			return nil
		})
	})
	if b := (blocked{}); errors.As(err, &b) {
		return nil, &snapline.Error{Code: snapline.CodeBusy, Err: err,
			Message: fmt.Sprintf("the repository is busy pruning since %s: %s", b.by[0].Since.Format(time.TimeOnly), b.by[0]), Hint: "take it again when that has ended"}
	}
	return h, err
}

// exclusive gets the lease of a maintenance. It lets rounds that wait go first,
// looks for a moment without any, and after a while lets no more of them begin.
// CodeBusy when rounds go on for too long, or another maintenance is under way.
func (l *leases) exclusive(ctx context.Context, kind string, id snapline.OperationID, waits func(string)) (*heldLease, error) {
	h := &heldLease{of: l, lease: lease{Kind: kind, For: string(id)}}
	try := func(insist bool) func(context.Context) error {
		return func(ctx context.Context) error {
			var others []lease
			err := l.update(ctx, func(r *leaseRecord) error {
				if l.deposed(r) {
					return deposed()
				}
				others = r.rounds()
				if m := r.maintenance(); m != nil && !h.is(*m) {
					return &snapline.Error{Code: snapline.CodeBusy, Message: m.String() + " is under way", Hint: "wait until it has ended"}
				}
				free := len(others) == 0 && (insist || l.waitingRounds() == 0)
				if !free && !insist {
					return blocked{others}
				}
				r.Holders = slices.DeleteFunc(r.Holders, h.is)
				h.Wanted = !free
				l.grant(r, h)
				return nil
			})
			if err == nil && h.Wanted {
				return blocked{others}
			}
			return err
		}
	}
	err := l.until(ctx, l.limits.patience, waits, try(false))
	if errors.As(err, &blocked{}) {
		err = l.until(ctx, l.limits.insist, waits, try(true))
	}
	if err == nil {
		return h, nil
	}
	h.release()
	if b := (blocked{}); errors.As(err, &b) {
		return nil, &snapline.Error{Code: snapline.CodeBusy, Message: "snapshots are being written all the time: still " + b.Error(), Hint: "try again when fewer are taken", Err: err}
	}
	return nil, err
}

// grant writes a lease into the record.
func (l *leases) grant(r *leaseRecord, h *heldLease) {
	h.Owner, h.Epoch, h.Since = l.owner, r.Epoch, l.clock.Wall()
	r.Holders = append(r.Holders, h.lease)
}

func (h *heldLease) is(l lease) bool {
	return l.Owner == h.Owner && l.Kind == h.Kind && l.For == h.For
}

// check reports whether the lease is ours still. Whoever has been frozen must
// ask before it does what the lease allows.
func (h *heldLease) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	r, _, err := h.of.read(ctx)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(r.Holders, func(l lease) bool { return h.is(l) && l.Epoch == h.Epoch && !l.Wanted }) {
		return deposed()
	}
	return nil
}

// release ends the lease. A store that does not answer is asked again until the
// coordinator ends; whoever takes over does not need it.
func (h *heldLease) release() {
	ctx := h.of.ctx
	for ctx.Err() == nil {
		err := h.of.update(ctx, func(r *leaseRecord) error {
			r.Holders = slices.DeleteFunc(r.Holders, h.is)
			return nil
		})
		if err == nil {
			return
		}
		h.of.log.Warn("end a lease", "lease", h.String(), "error", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(h.of.limits.poll):
		}
	}
}

// until tries again and again while somebody else is in the way.
func (l *leases) until(ctx context.Context, limit time.Duration, waits func(string), try func(context.Context) error) error {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	said := ""
	for {
		changed := l.change()
		err := try(ctx)
		b := blocked{}
		if !errors.As(err, &b) {
			return err
		}
		if text := b.Error(); text != said && waits != nil {
			said = text
			waits(text)
		}
		select {
		case <-changed:
		case <-time.After(l.limits.poll):
		case <-deadline.C:
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// update changes the record in one step, however many want to.
func (l *leases) update(ctx context.Context, change func(*leaseRecord) error) error {
	for {
		r, revision, err := l.read(ctx)
		if err != nil {
			return err
		}
		if err := change(&r); err != nil {
			return err
		}
		b, err := json.Marshal(r)
		if err != nil {
			return err
		}
		switch _, err := l.store.Swap(ctx, leaseKey, b, revision); {
		case err == nil:
			l.mu.Lock()
			close(l.changed)
			l.changed = make(chan struct{})
			l.mu.Unlock()
			return nil
		case !errors.Is(err, snapline.ErrConflict):
			return fmt.Errorf("write leases: %w", err)
		}
	}
}

func (l *leases) read(ctx context.Context) (r leaseRecord, revision uint64, err error) {
	b, revision, err := l.store.Get(ctx, leaseKey)
	if errors.Is(err, snapline.ErrNotFound) {
		return r, 0, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil {
		return r, 0, fmt.Errorf("read leases: %w", err)
	}
	return r, revision, nil
}

func (l *leases) change() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}

func (l *leases) wait(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting += n
}

func (l *leases) waitingRounds() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.waiting
}
