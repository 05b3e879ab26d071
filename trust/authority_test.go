package trust_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/trust"
)

func TestOperatorOfInit(t *testing.T) {
	s := newSite(t, trust.AuthorityOptions{})
	p, role, err := s.check(s.boss)
	if p != "user/boss" || role != snapline.RoleOperator || err != nil {
		t.Errorf("%s is %s, %v", p, role, err)
	}
	// The next start of the coordinator has the register, and no seed.
	_, seed, err := trust.Open(s.dir)
	must(t, err)
	again := trust.NewAuthority(trust.AuthorityOptions{CA: s.ca})
	if _, _, err := again.Check(s.boss.Certificate()); err == nil {
		t.Error("an authority that has read nothing took somebody for good")
	}
	must(t, again.Load(t.Context(), s.store, seed))
	if _, _, err := again.Check(s.boss.Certificate()); err != nil {
		t.Error(err)
	}
	// A seed that comes again must not undo a revocation.
	must(t, s.a.Revoke(t.Context(), "user/boss"))
	third := trust.NewAuthority(trust.AuthorityOptions{CA: s.ca})
	must(t, third.Load(t.Context(), s.store, seed))
	_, _, err = third.Check(s.boss.Certificate())
	wants(t, err, snapline.CodeDenied)
}

func TestTokenIsForOneHostAndOnce(t *testing.T) {
	s := newSite(t, trust.AuthorityOptions{})
	token := s.token(t, "h4")
	id, err := s.a.CheckToken(t.Context(), token.Password())
	if err != nil || id != token.ID() {
		t.Fatalf("CheckToken = %q, %v", id, err)
	}
	_, err = s.join(t, token, "h5")
	wants(t, err, snapline.CodeDenied)
	if err == nil || !strings.Contains(err.Error(), "for host h4, not h5") {
		t.Errorf("wrong host: %v", err)
	}
	c, err := s.join(t, token, "h4") // a slip of the name has not cost the token
	must(t, err)
	if p, role, err := s.check(c); p != "agent/h4" || role != "" || err != nil {
		t.Errorf("%s is %q, %v", p, role, err)
	}
	_, err = s.join(t, token, "h4")
	wants(t, err, snapline.CodeDenied)
	_, err = s.a.CheckToken(t.Context(), token.Password())
	wants(t, err, snapline.CodeDenied)
}

// TestTokenOfAnother: who signed in with one token cannot use another's.
func TestTokenOfAnother(t *testing.T) {
	s := newSite(t, trust.AuthorityOptions{})
	mine, other := s.token(t, "h1"), s.token(t, "h2")
	_, err := trust.Join(t.Context(), s.bus.As(trust.ToToken(mine.ID())), other, "h2")
	wants(t, err, snapline.CodeDenied)
	if _, err := s.join(t, other, "h2"); err != nil {
		t.Error(err)
	}
}

func TestTokenExpires(t *testing.T) {
	now := time.Now()
	s := newSite(t, trust.AuthorityOptions{Now: func() time.Time { return now }})
	token := s.token(t, "h1")
	s.token(t, "h2")
	if all, err := s.a.Tokens(t.Context()); err != nil || len(all) != 2 || all[0].Token != "" {
		t.Errorf("tokens %+v, %v", all, err)
	}
	now = now.Add(time.Hour + time.Second)
	_, err := s.join(t, token, "h1")
	wants(t, err, snapline.CodeDenied)
	if all, err := s.a.Tokens(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("tokens %+v, %v", all, err)
	}
}

func TestTokenRevoked(t *testing.T) {
	s := newSite(t, trust.AuthorityOptions{})
	token := s.token(t, "h1")
	must(t, s.a.RevokeToken(t.Context(), token.ID()))
	_, err := s.join(t, token, "h1")
	wants(t, err, snapline.CodeDenied)
	wants(t, s.a.RevokeToken(t.Context(), token.ID()), snapline.CodeNotFound)
	wants(t, s.a.RevokeToken(t.Context(), "../x"), snapline.CodeNotFound)
}

func TestTokenRequests(t *testing.T) {
	s := newSite(t, trust.AuthorityOptions{})
	for _, bad := range []snapline.TokenRequest{{}, {Host: "H 1"}, {Host: "h1", TTLSeconds: -1}, {Host: "h1", TTLSeconds: 1 << 40}} {
		_, err := s.a.CreateToken(t.Context(), "user/boss", bad)
		wants(t, err, snapline.CodeInvalid)
	}
}

func TestRevoke(t *testing.T) {
	s := newSite(t, trust.AuthorityOptions{})
	c := s.joined(t, "h4")
	s.ended = nil
	ends := s.a.Ends("agent/h4")
	must(t, s.a.Revoke(t.Context(), "agent/h4"))
	select {
	case <-ends:
	default:
		t.Error("those who wait for its end were not told before Revoke returned")
	}
	if len(s.ended) != 1 || s.ended[0] != "agent/h4" || s.a.Live("agent/h4") {
		t.Errorf("ended %v, live %v", s.ended, s.a.Live("agent/h4"))
	}
	_, _, err := s.check(c)
	wants(t, err, snapline.CodeDenied)
	_, err = c.Renew(t.Context(), s.bus.As("agent.h4"))
	wants(t, err, snapline.CodeDenied)
	wants(t, s.a.Revoke(t.Context(), "agent/h9"), snapline.CodeNotFound)
	// It comes back by a new token only, and what it had before stays void.
	again := s.joined(t, "h4")
	if _, _, err := s.check(again); err != nil {
		t.Error(err)
	}
	_, _, err = s.check(c)
	wants(t, err, snapline.CodeDenied)
}

// TestJoiningAgainReplaces: another machine under the same name.
func TestJoiningAgainReplaces(t *testing.T) {
	s := newSite(t, trust.AuthorityOptions{})
	first := s.joined(t, "h4")
	s.ended = nil
	second := s.joined(t, "h4")
	_, _, err := s.check(first)
	wants(t, err, snapline.CodeDenied)
	if _, _, err := s.check(second); err != nil || len(s.ended) != 1 {
		t.Errorf("%v; ended %v", err, s.ended)
	}
}

func TestUsers(t *testing.T) {
	s := newSite(t, trust.AuthorityOptions{})
	r, err := trust.NewRequest()
	must(t, err)
	q := snapline.CertificateRequest{Principal: "user/alice", Role: snapline.RoleViewer, CSR: r.PEM()}
	out, err := s.a.Issue(t.Context(), "user/boss", q)
	must(t, err)
	c, err := r.Credential(out)
	must(t, err)
	if p, role, err := s.check(c); p != "user/alice" || role != snapline.RoleViewer || err != nil {
		t.Errorf("%s is %s, %v", p, role, err)
	}
	_, err = s.a.Issue(t.Context(), "user/boss", q)
	wants(t, err, snapline.CodeRefused)
	for _, change := range []func(*snapline.CertificateRequest){
		func(q *snapline.CertificateRequest) { q.Principal = "user/../x" },
		func(q *snapline.CertificateRequest) { q.Principal = "king/bob" },
		func(q *snapline.CertificateRequest) { q.Principal = "coordinator/c2"; q.Role = "" },
		func(q *snapline.CertificateRequest) { q.Principal = "agent/h1" }, // with a role
		func(q *snapline.CertificateRequest) { q.Principal = "user/bob"; q.Role = "king" },
		func(q *snapline.CertificateRequest) { q.Principal = "user/bob"; q.CSR = "no" },
		func(q *snapline.CertificateRequest) { q.Principal = "user/bob"; q.Hosts = []string{"x"} },
		func(q *snapline.CertificateRequest) { q.Principal = "nats/n1"; q.Role = "" }, // without hosts
	} {
		bad := q
		change(&bad)
		_, err := s.a.Issue(t.Context(), "user/boss", bad)
		wants(t, err, snapline.CodeInvalid)
	}
	all, err := s.a.Certificates(t.Context())
	if err != nil || len(all) != 2 || all[0].Principal != "user/alice" || all[0].By != "user/boss" || all[1].By != "init" {
		t.Errorf("certificates %+v, %v", all, err)
	}
}

// TestRenewal: a certificate lives for an hour, the agent for a week.
func TestRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, trust.AuthorityOptions{AgentLife: time.Hour})
		c := s.joined(t, "h4")
		h := trust.NewHolder(c, nil)
		kept := 0
		done := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			defer close(done)
			h.Keep(ctx, func(ctx context.Context) (*trust.Credential, error) {
				return h.Credential().Renew(ctx, s.bus.As("agent.h4"))
			},
				func(*trust.Credential) error { kept++; return nil }, slog.New(slog.DiscardHandler))
		}()
		for range 7 * 24 {
			<-time.After(time.Hour)
			if _, _, err := s.check(h.Credential()); err != nil {
				t.Fatalf("after %d renewals: %v", kept, err)
			}
		}
		if kept < 7*24 || kept > 2*7*24 {
			t.Errorf("%d renewals in a week of certificates that live for an hour", kept)
		}
		_, _, err := s.check(c) // the first one has ended long ago
		wants(t, err, snapline.CodeDenied)
		cancel()
		<-done
	})
}

// TestRenewalIsTriedAgain: the coordinator is away when it is due.
func TestRenewalIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, trust.AuthorityOptions{AgentLife: 30 * time.Hour})
		c := s.joined(t, "h4")
		h := trust.NewHolder(c, nil)
		begin, attempts := time.Now(), 0
		done := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			defer close(done)
			h.Keep(ctx, func(ctx context.Context) (*trust.Credential, error) {
				attempts++
				if time.Since(begin) < 25*time.Hour { // due after 18
					return nil, snapline.ErrNoAnswer
				}
				return h.Credential().Renew(ctx, s.bus.As("agent.h4"))
			}, func(*trust.Credential) error { return nil }, slog.New(slog.DiscardHandler))
		}()
		<-time.After(26 * time.Hour)
		if h.Credential() == c || attempts < 10 || attempts > 100 {
			t.Errorf("renewed: %v, after %d attempts", h.Credential() != c, attempts)
		}
		cancel()
		<-done
	})
}

// TestRenewalIsOnesOwn: neither another's name nor another's certificate helps.
func TestRenewalIsOnesOwn(t *testing.T) {
	s := newSite(t, trust.AuthorityOptions{})
	h1 := s.joined(t, "h1")
	s.joined(t, "h2")
	_, err := h1.Renew(t.Context(), s.bus.As("agent.h2"))
	wants(t, err, snapline.CodeDenied)
	_, err = s.boss.Renew(t.Context(), s.bus.As("agent.h1"))
	wants(t, err, snapline.CodeDenied)
	foreign := newSite(t, trust.AuthorityOptions{}).joined(t, "h1")
	_, err = foreign.Renew(t.Context(), s.bus.As("agent.h1"))
	wants(t, err, snapline.CodeDenied)
	if _, err := h1.Renew(t.Context(), s.bus.As("agent.h1")); err != nil {
		t.Error(err)
	}
}

func TestExpired(t *testing.T) {
	now := time.Now()
	s := newSite(t, trust.AuthorityOptions{Now: func() time.Time { return now }})
	c := s.joined(t, "h1")
	now = now.Add(trust.AgentLife + time.Second)
	_, _, err := s.check(c)
	wants(t, err, snapline.CodeDenied)
	if s.a.Live("agent/h1") {
		t.Error("it lives on")
	}
	_, err = c.Renew(t.Context(), s.bus.As("agent.h1"))
	wants(t, err, snapline.CodeDenied)
}
