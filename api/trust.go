package api

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/snapline/snapline"
)

// Trust is what a coordinator with an authority does beside a Service: it
// admits hosts and users, and shuts them out. Every method may be called from
// several goroutines. Who asks is CallerOf(ctx).
type Trust interface {
	// CreateToken makes a token that one host can join with, once: CodeInvalid.
	CreateToken(ctx context.Context, q snapline.TokenRequest) (snapline.JoinToken, error)
	// Tokens lists those that wait to be used, without their secrets.
	Tokens(ctx context.Context) ([]snapline.JoinToken, error)
	// RevokeToken makes one useless: CodeNotFound.
	RevokeToken(ctx context.Context, id string) error
	// Issue admits somebody: CodeInvalid with all reasons, CodeRefused when they
	// are in already.
	Issue(ctx context.Context, q snapline.CertificateRequest) (snapline.IssuedCertificate, error)
	// Renew gives the caller another certificate: CodeDenied.
	Renew(ctx context.Context, csr string) (snapline.IssuedCertificate, error)
	// Certificates lists everybody who was ever admitted.
	Certificates(ctx context.Context) ([]snapline.CertificateStatus, error)
	// Revoke shuts somebody out; when it returns their connections are closed.
	// CodeNotFound.
	Revoke(ctx context.Context, p snapline.Principal) error
	// AuditLog returns the latest entries, oldest first.
	AuditLog(ctx context.Context, last int) ([]snapline.AuditEntry, error)
}

// NoTrust is the Trust of a coordinator without an authority.
type NoTrust struct{}

var errNoTrust = &snapline.Error{Code: snapline.CodeRefused, Message: "this coordinator has no authority: it serves this machine only, without certificates",
	Hint: "stop it, run `snapline init --data DIR` with its --data, and start it again"}

func (NoTrust) CreateToken(context.Context, snapline.TokenRequest) (t snapline.JoinToken, _ error) {
	return t, errNoTrust
}
func (NoTrust) Tokens(context.Context) ([]snapline.JoinToken, error) { return nil, errNoTrust }
func (NoTrust) RevokeToken(context.Context, string) error            { return errNoTrust }
func (NoTrust) Issue(context.Context, snapline.CertificateRequest) (c snapline.IssuedCertificate, _ error) {
	return c, errNoTrust
}
func (NoTrust) Renew(context.Context, string) (c snapline.IssuedCertificate, _ error) {
	return c, errNoTrust
}
func (NoTrust) Certificates(context.Context) ([]snapline.CertificateStatus, error) {
	return nil, errNoTrust
}
func (NoTrust) Revoke(context.Context, snapline.Principal) error { return errNoTrust }
func (NoTrust) AuditLog(context.Context, int) ([]snapline.AuditEntry, error) {
	return nil, errNoTrust
}

type tokenInput struct{ Body snapline.TokenRequest }

type tokenPath struct {
	Token string `path:"token" doc:"Id of a join token."`
}

type issueInput struct{ Body snapline.CertificateRequest }

type renewInput struct{ Body renewRequest }

type renewRequest struct {
	CSR string `json:"csr" doc:"PKCS #10 request, PEM; only its public key is used."`
}

type principalPath struct {
	Kind string `path:"kind" enum:"agent,user,nats" doc:"Kind of principal."`
	Name string `path:"name" doc:"Its name."`
}

type auditInput struct {
	Last int `query:"last" default:"100" minimum:"1" maximum:"10000" doc:"How many of the latest entries."`
}

func (r routes) registerTrust(api huma.API, get func(id, path, summary string) huma.Operation) {
	huma.Register(api, get("tokens", "/v1/tokens", "List the join tokens that wait to be used"),
		func(ctx context.Context, _ *struct{}) (*body[[]snapline.JoinToken], error) {
			return list(r.trust.Tokens(ctx))
		})
	huma.Register(api, op("token-create", http.MethodPost, "/v1/tokens", "Make a join token", http.StatusCreated),
		func(ctx context.Context, in *tokenInput) (*body[snapline.JoinToken], error) {
			t, err := r.trust.CreateToken(ctx, in.Body)
			detail(ctx, t.ID)
			return out(t, err)
		})
	huma.Register(api, op("token-revoke", http.MethodDelete, "/v1/tokens/{token}", "Make a join token useless", http.StatusNoContent),
		func(ctx context.Context, in *tokenPath) (*struct{}, error) {
			return empty(r.trust.RevokeToken(ctx, in.Token))
		})
	huma.Register(api, get("certificates", "/v1/certificates", "List who has been admitted"),
		func(ctx context.Context, _ *struct{}) (*body[[]snapline.CertificateStatus], error) {
			return list(r.trust.Certificates(ctx))
		})
	huma.Register(api, op("issue", http.MethodPost, "/v1/certificates", "Admit a user, a host or a NATS server", http.StatusCreated),
		func(ctx context.Context, in *issueInput) (*body[snapline.IssuedCertificate], error) {
			detail(ctx, string(in.Body.Role))
			return out(r.trust.Issue(ctx, in.Body))
		})
	huma.Register(api, forEverybody(op("renew", http.MethodPost, "/v1/certificates/renew", "Renew one's own certificate", http.StatusCreated)),
		func(ctx context.Context, in *renewInput) (*body[snapline.IssuedCertificate], error) {
			return out(r.trust.Renew(ctx, in.Body.CSR))
		})
	huma.Register(api, op("revoke", http.MethodDelete, "/v1/certificates/{kind}/{name}", "Shut somebody out, at once", http.StatusNoContent),
		func(ctx context.Context, in *principalPath) (*struct{}, error) {
			return empty(r.trust.Revoke(ctx, snapline.NewPrincipal(in.Kind, in.Name)))
		})
	huma.Register(api, forOperators(get("audit", "/v1/audit", "Show who did what, oldest first")),
		func(ctx context.Context, in *auditInput) (*body[[]snapline.AuditEntry], error) {
			return list(r.trust.AuditLog(ctx, in.Last))
		})
}

var _ Trust = (*Client)(nil)

func (c *Client) CreateToken(ctx context.Context, q snapline.TokenRequest) (snapline.JoinToken, error) {
	var t snapline.JoinToken
	err := c.do(ctx, http.MethodPost, "/v1/tokens", q, &t)
	return t, err
}

func (c *Client) Tokens(ctx context.Context) ([]snapline.JoinToken, error) {
	return get[[]snapline.JoinToken](ctx, c, "/v1/tokens")
}

func (c *Client) RevokeToken(ctx context.Context, id string) error {
	return c.do(ctx, http.MethodDelete, "/v1/tokens/"+url.PathEscape(id), nil, nil)
}

func (c *Client) Issue(ctx context.Context, q snapline.CertificateRequest) (snapline.IssuedCertificate, error) {
	var i snapline.IssuedCertificate
	err := c.do(ctx, http.MethodPost, "/v1/certificates", q, &i)
	return i, err
}

func (c *Client) Renew(ctx context.Context, csr string) (snapline.IssuedCertificate, error) {
	var i snapline.IssuedCertificate
	err := c.do(ctx, http.MethodPost, "/v1/certificates/renew", renewRequest{csr}, &i)
	return i, err
}

func (c *Client) Certificates(ctx context.Context) ([]snapline.CertificateStatus, error) {
	return get[[]snapline.CertificateStatus](ctx, c, "/v1/certificates")
}

func (c *Client) Revoke(ctx context.Context, p snapline.Principal) error {
	return c.do(ctx, http.MethodDelete, "/v1/certificates/"+url.PathEscape(p.Kind())+"/"+url.PathEscape(p.Name()), nil, nil)
}

func (c *Client) AuditLog(ctx context.Context, last int) ([]snapline.AuditEntry, error) {
	return get[[]snapline.AuditEntry](ctx, c, "/v1/audit?last="+strconv.Itoa(last))
}
