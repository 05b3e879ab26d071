package cli

import (
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/api"
	"github.com/snapline/snapline/nats"
	"github.com/snapline/snapline/trust"
)

// guard is how a coordinator knows who is who. Without an authority it serves
// this machine only.
type guard struct {
	api.NoTrust
	audit *trust.AuditLog
}

// authority is a guard with an authority.
type authority struct {
	*guard
	*trust.Authority
	ca     *trust.CA
	seed   trust.Seed
	holder *trust.Holder
	renew  func() (*trust.Credential, error)
	server *nats.Server  // embedded; nil with an external cluster
	ready  chan struct{} // closed when the register has been read
	log    *slog.Logger
}

// openAuthority reads the authority that init has made; nil when there is none.
// It refuses addresses that others can reach, when nobody could be told from
// anybody there.
func openAuthority(o coordinatorOptions, g *guard, log *slog.Logger) (*authority, error) {
	ca, seed, err := trust.Open(trustDir(o.data))
	if trust.Missing(err) {
		return nil, withoutAuthority(o)
	}
	if err != nil {
		return nil, err
	}
	hosts := serverNames(o)
	a := &authority{guard: g, ca: ca, seed: seed, log: log, ready: make(chan struct{}),
		renew: func() (*trust.Credential, error) { return ca.Coordinator(o.name, hosts, time.Now()) }}
	c, err := a.renew()
	if err != nil {
		return nil, err
	}
	a.holder = trust.NewHolder(c, nil)
	a.Authority = trust.NewAuthority(trust.AuthorityOptions{CA: ca, Audit: g.audit.Append, Log: log, Ended: a.ended,
		AgentLife: o.agentLife, UserLife: o.userLife})
	return a, nil
}

func withoutAuthority(o coordinatorOptions) error {
	var reasons []snapline.Reason
	for flag, value := range map[string]string{"--listen": o.listen, "--nats": o.external, "--http": strings.Join(o.http, ",")} {
		if err := exposed(value); err != nil {
			reasons = append(reasons, snapline.Reason{Text: flag + ": " + err.Error()})
		}
	}
	if reasons == nil {
		return nil
	}
	slices.SortFunc(reasons, func(a, b snapline.Reason) int { return strings.Compare(a.Text, b.Text) })
	return &snapline.Error{Code: snapline.CodeRefused, Reasons: reasons,
		Message: "there is no certificate authority, and without one everything is said in clear, to anybody who asks",
		Hint:    fmt.Sprintf("make one: snapline init --data %s; or stay on this machine: 127.0.0.1:PORT, unix:///PATH", o.data)}
}

// serverNames are for foreign programs, such as browsers: ours look at the
// authority only.
func serverNames(o coordinatorOptions) []string {
	names := []string{"localhost", "127.0.0.1", "::1"}
	if h, err := os.Hostname(); err == nil {
		names = append(names, h)
	}
	for _, a := range append([]string{o.listen}, o.http...) {
		host, _, err := net.SplitHostPort(a)
		if ip := net.ParseIP(host); err == nil && host != "" && (ip == nil || !ip.IsUnspecified()) && !slices.Contains(names, host) {
			names = append(names, host)
		}
	}
	return names
}

// address is where a principal speaks from.
func address(p snapline.Principal) snapline.Address {
	return snapline.Address(p.Kind() + "." + p.Name())
}

// ended closes the connections of somebody whose certificates are void.
func (a *authority) ended(p snapline.Principal) {
	if a.server != nil {
		a.server.Disconnect(func(as snapline.Address) bool { return as != address(p) })
	}
}

// login says as whom a client of the embedded server speaks.
func (a *authority) login(l nats.Login) (snapline.Address, error) {
	select { // who comes while the coordinator starts waits a moment
	case <-a.ready:
	case <-time.After(5 * time.Second):
	}
	if l.Certificate == nil {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		id, err := a.CheckToken(ctx, l.Token)
		return trust.ToToken(id), err
	}
	p, _, err := a.Check(l.Certificate)
	return address(p), err
}

// identify says which user has a certificate.
func (a *authority) identify(cert *x509.Certificate) (api.Caller, error) {
	p, role, err := a.Check(cert)
	return api.Caller{Name: string(p), Role: role, Ends: a.Ends(p)}, err
}

// start reads the register and answers hosts that join.
func (a *authority) start(ctx context.Context, store snapline.Store, bus snapline.Bus) (stop func(), err error) {
	if err := a.read(ctx, store); err != nil {
		return nil, err
	}
	return a.Serve(bus)
}

// read reads the register, and lets clients in from then on.
func (a *authority) read(ctx context.Context, store snapline.Store) error {
	if err := a.Load(ctx, store, a.seed); err != nil {
		return err
	}
	if err := a.seed.Forget(); err != nil {
		return err
	}
	close(a.ready)
	return nil
}

// sweepEvery is how often connections are looked at whose certificate may have
// ended meanwhile.
const sweepEvery = time.Minute

// run renews the coordinator's own certificate, and closes the connections of
// agents whose certificates have ended, until ctx ends.
func (a *authority) run(ctx context.Context) error {
	go a.holder.Keep(ctx, func(context.Context) (*trust.Credential, error) { return a.renew() }, func(*trust.Credential) error { return nil }, a.log)
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		a.sweep()
	}
}

// sweep closes the connections of agents that may not be here any more.
func (a *authority) sweep() {
	if a.server != nil {
		a.server.Disconnect(func(as snapline.Address) bool {
			host, agent := as.Host()
			return !agent || a.Live(snapline.NewPrincipal(snapline.KindAgent, string(host)))
		})
	}
}

var (
	_ api.Trust = (*guard)(nil)
	_ api.Trust = (*authority)(nil)
)

// AuditLog implements api.Trust, without an authority too.
func (g *guard) AuditLog(_ context.Context, last int) ([]snapline.AuditEntry, error) {
	return g.audit.Last(last)
}

func (a *authority) CreateToken(ctx context.Context, q snapline.TokenRequest) (snapline.JoinToken, error) {
	return a.Authority.CreateToken(ctx, api.CallerOf(ctx).Name, q)
}

func (a *authority) Tokens(ctx context.Context) ([]snapline.JoinToken, error) {
	return a.Authority.Tokens(ctx)
}

func (a *authority) RevokeToken(ctx context.Context, id string) error {
	return a.Authority.RevokeToken(ctx, id)
}

func (a *authority) Issue(ctx context.Context, q snapline.CertificateRequest) (snapline.IssuedCertificate, error) {
	return a.Authority.Issue(ctx, api.CallerOf(ctx).Name, q)
}

func (a *authority) Renew(ctx context.Context, csr string) (snapline.IssuedCertificate, error) {
	who := snapline.Principal(api.CallerOf(ctx).Name)
	if who.Kind() != snapline.KindUser {
		return snapline.IssuedCertificate{}, &snapline.Error{Code: snapline.CodeInvalid, Message: string(who) + " has no certificate to renew"}
	}
	return a.Authority.Renew(ctx, who, csr)
}

func (a *authority) Certificates(ctx context.Context) ([]snapline.CertificateStatus, error) {
	return a.Authority.Certificates(ctx)
}

func (a *authority) Revoke(ctx context.Context, p snapline.Principal) error {
	return a.Authority.Revoke(ctx, p)
}

func (a *authority) AuditLog(ctx context.Context, last int) ([]snapline.AuditEntry, error) {
	return a.guard.AuditLog(ctx, last)
}

// auditPath is the audit log in a coordinator's data.
func auditPath(data string) string { return filepath.Join(data, "audit.jsonl") }
