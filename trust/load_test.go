package trust_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/trust"
)

// slowStore waits in the middle of reading the register.
type slowStore struct {
	snapline.Store
	reading, goOn chan struct{}
}

func (s slowStore) Get(ctx context.Context, key string) ([]byte, uint64, error) {
	b, revision, err := s.Store.Get(ctx, key)
	if strings.HasPrefix(key, "principal.user.") {
		s.reading <- struct{}{}
		<-s.goOn
	}
	return b, revision, err
}

// TestRevokeWhileReading: several coordinators read the register every second. What
// one has read before a revocation does not undo it.
func TestRevokeWhileReading(t *testing.T) {
	s := newSite(t, trust.AuthorityOptions{})
	slow := slowStore{s.store, make(chan struct{}), make(chan struct{})}
	read, revoked := make(chan error, 1), make(chan error, 1)
	go func() { read <- s.a.Load(t.Context(), slow, trust.Seed{}) }()
	<-slow.reading
	go func() { revoked <- s.a.Revoke(t.Context(), "user/boss") }()
	select {
	case err := <-revoked: // at once
		must(t, err)
		close(slow.goOn)
		must(t, <-read)
	case <-time.After(100 * time.Millisecond): // or when the register has been read
		close(slow.goOn)
		must(t, <-read)
		must(t, <-revoked)
	}
	_, _, err := s.check(s.boss)
	wants(t, err, snapline.CodeDenied)
}
