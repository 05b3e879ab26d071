package trust

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/snapline/snapline"
)

// AuthorityOptions are what an Authority is made of.
type AuthorityOptions struct {
	CA *CA
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Audit hears of everything that the authority did for somebody; nil is fine.
	Audit func(snapline.AuditEntry) error
	Log   *slog.Logger
	// Ended is called when certificates that were good are so no more, or another
	// host has joined under a name, before whoever asked for it gets an answer: it
	// ends the principal's connections.
	Ended func(snapline.Principal)
	// AgentLife and UserLife are for tests; 0 means the constants.
	AgentLife, UserLife time.Duration
}

// Authority admits hosts and users and says who is good. It is safe for use from
// several goroutines. Until Load it knows nobody.
type Authority struct {
	AuthorityOptions
	register atomic.Pointer[register]
	changing sync.Mutex // one change after the other

	mu   sync.Mutex
	ends map[snapline.Principal]chan struct{} // closed when it ends
}

// NewAuthority returns an authority that knows nobody yet.
func NewAuthority(o AuthorityOptions) *Authority {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Audit == nil {
		o.Audit = func(snapline.AuditEntry) error { return nil }
	}
	if o.Ended == nil {
		o.Ended = func(snapline.Principal) {}
	}
	if o.AgentLife == 0 {
		o.AgentLife = AgentLife
	}
	if o.UserLife == 0 {
		o.UserLife = UserLife
	}
	return &Authority{AuthorityOptions: o, ends: map[snapline.Principal]chan struct{}{}}
}

// Load reads the register; seed is what Init left for the first start. Changes wait
// meanwhile: what was read before one must not take its place.
func (a *Authority) Load(ctx context.Context, store snapline.Store, seed Seed) error {
	a.changing.Lock()
	defer a.changing.Unlock()
	r, err := load(ctx, store, seed.records)
	if err != nil {
		return fmt.Errorf("read the register of certificates: %w", err)
	}
	a.register.Store(r)
	return nil
}

func (a *Authority) loaded() (*register, error) {
	r := a.register.Load()
	if r == nil {
		return nil, &snapline.Error{Code: snapline.CodeUnavailable, Message: "the coordinator is starting", Hint: "try again in a moment"}
	}
	return r, nil
}

// Check says whose a certificate is, and what a user may do; CodeDenied when it
// is not good, with the reason. The caller has verified that the authority
// signed it.
func (a *Authority) Check(cert *x509.Certificate) (snapline.Principal, snapline.Role, error) {
	p, err := principalOf(cert)
	if err != nil {
		return "", "", denied("", "%v", err)
	}
	r, err := a.loaded()
	if err != nil {
		return p, "", err
	}
	rec, ok := r.get(p)
	switch now := a.Now(); {
	case !ok:
		return p, "", denied(a.again(p), "%s is not in this cluster's register", p)
	case rec.Revoked != nil:
		return p, "", denied(a.again(p), "%s was revoked at %s", p, rec.Revoked.Format(time.RFC3339))
	case now.After(cert.NotAfter):
		return p, "", denied(a.again(p), "the certificate of %s ended at %s", p, cert.NotAfter.Format(time.RFC3339))
	}
	for _, g := range rec.Good {
		if g.Serial == serialOf(cert) {
			return p, rec.Role, nil
		}
	}
	return p, "", denied(a.again(p), "this certificate of %s was replaced by another", p)
}

// again is how somebody gets in again.
func (a *Authority) again(p snapline.Principal) string {
	switch p.Kind() {
	case snapline.KindAgent:
		return fmt.Sprintf("let the host join again: snapline token create --host %s", p.Name())
	case snapline.KindUser:
		return fmt.Sprintf("an operator can admit them again: snapline user add %s --role viewer", p.Name())
	}
	return ""
}

// Live reports whether a principal has any good certificate.
func (a *Authority) Live(p snapline.Principal) bool {
	r := a.register.Load()
	if r == nil {
		return false
	}
	rec, ok := r.get(p)
	return ok && rec.live(a.Now())
}

// Ends is closed when the principal's certificates, all that are good now, end
// by a revocation.
func (a *Authority) Ends(p snapline.Principal) <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ends[p] == nil {
		a.ends[p] = make(chan struct{})
	}
	return a.ends[p]
}

func (a *Authority) end(p snapline.Principal) {
	a.mu.Lock()
	if c := a.ends[p]; c != nil {
		close(c)
		delete(a.ends, p)
	}
	a.mu.Unlock()
	a.Ended(p)
}

// Certificates lists every principal that was ever admitted, by name.
func (a *Authority) Certificates(context.Context) ([]snapline.CertificateStatus, error) {
	r, err := a.loaded()
	if err != nil {
		return nil, err
	}
	out := []snapline.CertificateStatus{}
	for _, rec := range r.list() {
		out = append(out, rec.status())
	}
	return out, nil
}

// Issue admits a principal by an operator's word. CodeInvalid, CodeRefused when
// it is in already.
func (a *Authority) Issue(ctx context.Context, by string, q snapline.CertificateRequest) (snapline.IssuedCertificate, error) {
	if err := checkRequest(q); err != nil {
		return snapline.IssuedCertificate{}, err
	}
	key, err := requestedKey(q.CSR)
	if err != nil {
		return snapline.IssuedCertificate{}, invalid("", "%v", err)
	}
	a.changing.Lock()
	defer a.changing.Unlock()
	r, err := a.loaded()
	if err != nil {
		return snapline.IssuedCertificate{}, err
	}
	if rec, ok := r.get(q.Principal); ok && rec.live(a.Now()) {
		return snapline.IssuedCertificate{}, refused("snapline revoke "+string(q.Principal), "%s has a certificate already", q.Principal)
	}
	rec := record{Principal: q.Principal, Role: q.Role, By: by, Since: second(a.Now())}
	return a.issue(ctx, r, rec, key, q.Hosts)
}

func checkRequest(q snapline.CertificateRequest) error {
	e := &snapline.Error{Code: snapline.CodeInvalid, Message: "this certificate cannot be issued"}
	no := func(hint, format string, args ...any) {
		e.Reasons = append(e.Reasons, snapline.Reason{Text: fmt.Sprintf(format, args...), Hint: hint})
	}
	if err := q.Principal.Check(); err != nil {
		no("", "%v", err)
	}
	kind := q.Principal.Kind()
	if kind == snapline.KindCoordinator {
		no("", "a coordinator makes its own, from the authority's key")
	}
	if kind == snapline.KindUser && q.Role != snapline.RoleOperator && q.Role != snapline.RoleViewer {
		no("use operator or viewer", "there is no role %q", q.Role)
	}
	if kind != snapline.KindUser && q.Role != "" {
		no("", "only a user has a role")
	}
	if (kind == snapline.KindNATS) != (len(q.Hosts) > 0) {
		no("", "names and addresses are for NATS servers, which need at least one")
	}
	if len(q.Hosts) > 16 {
		no("", "%d names and addresses, at most 16 are allowed", len(q.Hosts))
	}
	if len(e.Reasons) > 0 {
		return e
	}
	return nil
}

// issue signs, and notes it before anybody gets the certificate.
func (a *Authority) issue(ctx context.Context, r *register, rec record, key crypto.PublicKey, hosts []string) (snapline.IssuedCertificate, error) {
	life := a.AgentLife
	switch rec.Principal.Kind() {
	case snapline.KindUser:
		life = a.UserLife
	case snapline.KindNATS:
		life = natsLife
	}
	now := a.Now()
	cert, err := a.CA.sign(key, rec.Principal, hosts, now, life)
	if err != nil {
		return snapline.IssuedCertificate{}, err
	}
	if err := r.put(ctx, rec.with(cert, now)); err != nil {
		return snapline.IssuedCertificate{}, fmt.Errorf("note the certificate of %s: %w", rec.Principal, err)
	}
	return issued(a.CA, cert, rec), nil
}

// Renew gives a principal that is good another certificate.
func (a *Authority) Renew(ctx context.Context, p snapline.Principal, csr string) (snapline.IssuedCertificate, error) {
	key, err := requestedKey(csr)
	if err != nil {
		return snapline.IssuedCertificate{}, invalid("", "%v", err)
	}
	a.changing.Lock()
	defer a.changing.Unlock()
	r, err := a.loaded()
	if err != nil {
		return snapline.IssuedCertificate{}, err
	}
	rec, ok := r.get(p)
	if !ok || !rec.live(a.Now()) {
		return snapline.IssuedCertificate{}, denied(a.again(p), "%s has no good certificate to renew", p)
	}
	return a.issue(ctx, r, rec, key, nil)
}

// Revoke ends all certificates of a principal, and its connections, before it
// returns. CodeNotFound; revoking twice is fine. Should the store fail, it is
// revoked nevertheless, until the coordinator restarts; the error says so.
func (a *Authority) Revoke(ctx context.Context, p snapline.Principal) error {
	a.changing.Lock()
	defer a.changing.Unlock()
	r, err := a.loaded()
	if err != nil {
		return err
	}
	rec, ok := r.get(p)
	if !ok {
		return &snapline.Error{Code: snapline.CodeNotFound, Message: fmt.Sprintf("nobody called %s was ever admitted", p), Hint: "see: snapline certificate list"}
	}
	if rec.Revoked == nil {
		now := second(a.Now())
		rec.Revoked = &now
	}
	r.set(rec)
	a.end(p)
	if err := r.write(ctx, rec); err != nil {
		return &snapline.Error{Code: snapline.CodeFailed, Err: err, Hint: "revoke it again when the cause is mended",
			Message: fmt.Sprintf("%s is cut off, but this could not be noted, so that it will be let in again when the coordinator restarts: %v", p, err)}
	}
	return nil
}

func isConflict(err error) bool { return errors.Is(err, snapline.ErrConflict) }
