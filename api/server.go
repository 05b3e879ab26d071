package api

import (
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/snapline/snapline"
)

// Server serves a Service over HTTP.
type Server struct {
	Service Service
	// Version is what /v1/version answers.
	Version Version
	// Log gets what net/http has to say of broken connections and panics in
	// handlers; nil drops it.
	Log *slog.Logger
	// TLS is how to serve what is no unix socket; nil means in clear, which is for
	// loopback only.
	TLS *tls.Config
	// Identify says who has a certificate that TLS has verified; CodeDenied when
	// they may not come in.
	Identify func(*x509.Certificate) (Caller, error)
	// Trust admits others; nil refuses to.
	Trust Trust
	// Audit notes what somebody wants changed; with an error it is not done. nil
	// notes nothing.
	Audit func(snapline.AuditEntry) error
}

// Handler serves the Service under /v1, and its description under
// /openapi.json and /openapi.yaml. Every error, also one for a path that does
// not exist, is a Problem.
func (s Server) Handler() http.Handler {
	mux := http.NewServeMux()
	api := humago.New(mux, config())
	api.UseMiddleware(s.guard)
	trust := s.Trust
	if trust == nil {
		trust = NoTrust{}
	}
	routes{svc: s.Service, version: s.Version, trust: trust}.register(api)
	describe(api.OpenAPI())
	return s.identify(protect(problemsFor(mux)))
}

// config leaves out what huma's defaults add: the documentation page, whose
// scripts come from a content delivery network, and $schema links in bodies.
func config() huma.Config {
	c := huma.DefaultConfig("Snapline", strconv.Itoa(Major))
	c.Info.Description = "Consistent global snapshots of groups of virtual machines: declare a group, take and restore snapshots, follow operations."
	c.DocsPath, c.SchemasPath, c.CreateHooks = "", "", nil
	c.RejectUnknownQueryParameters = true
	c.Transformers = []huma.Transformer{toProblem}
	return c
}

// toProblem gives huma's own errors, those of requests that do not fit the
// schema, the shape of all others.
func toProblem(_ huma.Context, _ string, v any) (any, error) {
	m, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	p := &Problem{Type: "about:blank", Title: m.Title, Status: m.Status, Detail: m.Detail, Code: codeOf(m.Status)}
	for _, d := range m.Errors {
		text := d.Message
		if d.Location != "" {
			text = d.Location + ": " + text
		}
		p.Reasons = append(p.Reasons, snapline.Reason{Text: text})
	}
	return p, nil
}

// out wraps a result for huma, or err as a Problem.
func out[T any](v T, err error) (*body[T], error) {
	if err != nil {
		return nil, NewProblem(err)
	}
	return &body[T]{Body: v}, nil
}

type body[T any] struct{ Body T }

// list is out for lists: an empty one is [], never null.
func list[T any](v []T, err error) (*body[[]T], error) {
	if v == nil {
		v = []T{}
	}
	return out(v, err)
}

// empty is the answer without a body.
func empty(err error) (*struct{}, error) {
	if err != nil {
		return nil, NewProblem(err)
	}
	return nil, nil
}
