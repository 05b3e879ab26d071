package node_test

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/snapline/snapline"
)

var errKilled = errors.New("this process has been killed")

// process is what a coordinator's process is to the world: what it does to the
// world, and what it hears of it, ends when it is killed and waits while it is
// frozen. What it has begun by then is done when it thaws, as after SIGSTOP.
type process struct {
	*site
	name string
	stop func()

	mu    sync.Mutex
	die   sync.Once
	dead  chan struct{}
	thaw  chan struct{} // not nil: frozen
	after func(op string)
}

// pass lets one effect of the process through, or not.
func (p *process) pass() error {
	p.mu.Lock()
	thaw := p.thaw
	p.mu.Unlock()
	if thaw != nil {
		select {
		case <-thaw:
		case <-p.dead:
		}
	}
	select {
	case <-p.dead:
		return errKilled
	default:
		return nil
	}
}

func (p *process) kill() { p.die.Do(func() { close(p.dead) }) }

func (p *process) freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.thaw = make(chan struct{})
}

func (p *process) unfreeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.thaw)
	p.thaw = nil
}

// did tells the test that an effect is done.
func (p *process) did(op string) {
	p.mu.Lock()
	after := p.after
	p.mu.Unlock()
	if after != nil {
		after(op)
	}
}

// processBus is the bus as the process sees it.
type processBus struct {
	snapline.Bus
	p *process
}

func (b processBus) Send(ctx context.Context, to snapline.Address, msg []byte) error {
	if err := b.p.pass(); err != nil {
		return err
	}
	return b.Bus.Send(context.WithoutCancel(ctx), to, msg) // what a frozen one had begun
}

func (b processBus) Ask(ctx context.Context, to snapline.Address, q []byte) ([]byte, error) {
	if err := b.p.pass(); err != nil {
		return nil, err
	}
	return b.Bus.Ask(ctx, to, q)
}

func (b processBus) Receive(at snapline.Address, handle func(snapline.Address, []byte)) (func(), error) {
	return b.Bus.Receive(at, func(from snapline.Address, m []byte) {
		if b.p.pass() == nil {
			handle(from, m)
		}
	})
}

func (b processBus) Answer(at snapline.Address, answer func(context.Context, snapline.Address, []byte) []byte) (func(), error) {
	return b.Bus.Answer(at, func(ctx context.Context, from snapline.Address, q []byte) []byte {
		select { // the dead and the frozen do not answer; others may
		case <-b.p.dead:
			return nil
		default:
		}
		if b.p.pass() != nil {
			return nil
		}
		return answer(ctx, from, q)
	})
}

// processStore is the store as the process sees it.
type processStore struct {
	snapline.Store
	p *process
}

func (s processStore) Get(ctx context.Context, key string) ([]byte, uint64, error) {
	if err := s.p.pass(); err != nil {
		return nil, 0, err
	}
	return s.Store.Get(ctx, key)
}

func (s processStore) Put(ctx context.Context, key string, v []byte) error {
	if err := s.p.pass(); err != nil {
		return err
	}
	return s.Store.Put(context.WithoutCancel(ctx), key, v)
}

func (s processStore) Swap(ctx context.Context, key string, v []byte, rev uint64) (uint64, error) {
	if err := s.p.pass(); err != nil {
		return 0, err
	}
	return s.Store.Swap(context.WithoutCancel(ctx), key, v, rev)
}

func (s processStore) Keys(ctx context.Context, prefix string) ([]string, error) {
	if err := s.p.pass(); err != nil {
		return nil, err
	}
	return s.Store.Keys(ctx, prefix)
}

func (s processStore) Delete(ctx context.Context, key string) error {
	if err := s.p.pass(); err != nil {
		return err
	}
	return s.Store.Delete(context.WithoutCancel(ctx), key)
}

// processRepo is the repository as the process sees it.
type processRepo struct {
	*watchedRepo
	p *process
}

func (r processRepo) Commit(ctx context.Context, s snapline.Snapshot) error {
	if err := r.p.pass(); err != nil {
		return err
	}
	err := r.watchedRepo.Commit(context.WithoutCancel(ctx), s)
	r.p.did("committed")
	return err
}

func (r processRepo) Snapshot(ctx context.Context, id snapline.SnapshotID) (snapline.Snapshot, error) {
	if err := r.p.pass(); err != nil {
		return snapline.Snapshot{}, err
	}
	return r.watchedRepo.Snapshot(ctx, id)
}

func (r processRepo) Delete(ctx context.Context, id snapline.SnapshotID) error {
	if err := r.p.pass(); err != nil {
		return err
	}
	return r.watchedRepo.Delete(context.WithoutCancel(ctx), id)
}

func (r processRepo) GiveUp(ctx context.Context, id snapline.SnapshotID) error {
	if err := r.p.pass(); err != nil {
		return err
	}
	return r.watchedRepo.GiveUp(context.WithoutCancel(ctx), id)
}

// bubbleClock is the time inside of a synctest bubble.
type bubbleClock struct{}

func (bubbleClock) Now() snapline.Instant { return snapline.Instant(time.Now().UnixNano()) }
func (bubbleClock) Wall() time.Time       { return time.Now().UTC() }
