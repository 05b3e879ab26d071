package trust_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/bustest"
	"github.com/snapline/snapline/trust"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// site is a cluster without a network.
type site struct {
	dir   string
	ca    *trust.CA
	a     *trust.Authority
	bus   *bustest.Bus
	store *bustest.Store
	boss  *trust.Credential // the operator that Init made
	ended []snapline.Principal
	audit *trust.AuditLog
}

// newSite makes one; o may set clocks and lives.
func newSite(t testing.TB, o trust.AuthorityOptions) *site {
	t.Helper()
	now := time.Now
	if o.Now != nil {
		now = o.Now
	}
	s := &site{dir: filepath.Join(t.TempDir(), "trust"), bus: bustest.NewBus(), store: bustest.NewStore()}
	must(t, trust.Init(s.dir, "boss", now(), func(c *trust.Credential) error { s.boss = c; return nil }))
	ca, seed, err := trust.Open(s.dir)
	must(t, err)
	s.ca, o.CA = ca, ca
	s.audit = trust.NewAuditLog(filepath.Join(filepath.Dir(s.dir), "audit.jsonl"))
	o.Audit = s.audit.Append
	o.Ended = func(p snapline.Principal) { s.ended = append(s.ended, p) }
	s.a = trust.NewAuthority(o)
	must(t, s.a.Load(context.Background(), s.store, seed))
	must(t, seed.Forget())
	stop, err := s.a.Serve(s.bus)
	must(t, err)
	t.Cleanup(stop)
	return s
}

// token makes one for a host.
func (s *site) token(t *testing.T, host snapline.HostName) trust.Token {
	t.Helper()
	made, err := s.a.CreateToken(t.Context(), "user/boss", snapline.TokenRequest{Host: host})
	must(t, err)
	token, err := trust.ParseToken(made.Token)
	must(t, err)
	return token
}

// join enrols a host as its agent does.
func (s *site) join(t *testing.T, token trust.Token, host snapline.HostName) (*trust.Credential, error) {
	t.Helper()
	return trust.Join(t.Context(), s.bus.As(trust.ToToken(token.ID())), token, host)
}

func (s *site) joined(t *testing.T, host snapline.HostName) *trust.Credential {
	t.Helper()
	c, err := s.join(t, s.token(t, host), host)
	must(t, err)
	return c
}

// check asks the authority of a credential.
func (s *site) check(c *trust.Credential) (snapline.Principal, snapline.Role, error) {
	return s.a.Check(c.Certificate())
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wants checks an error's code.
func wants(t *testing.T, err error, code snapline.Code) {
	t.Helper()
	var e *snapline.Error
	if !errors.As(err, &e) || e.Code != code {
		t.Errorf("error %v, want code %s", err, code)
	}
}
