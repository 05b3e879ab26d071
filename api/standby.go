package api

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"sync"

	"github.com/snapline/snapline"
)

// Standby is the Handler of one of several coordinators of which one leads. It
// serves while this one does, and otherwise answers 421 Misdirected Request: then
// nothing has been done, and a Client that knows the others asks them.
type Standby struct {
	// Name is this coordinator's, Leader that of the one that leads, as far as is
	// known.
	Name   string
	Leader func() string

	mu   sync.Mutex
	term context.Context // nil: this one does not lead
	with http.Handler
}

// Lead serves with h until term ends. Answers that are under way then are cut
// off, streams in particular: who follows one is told the rest by the next leader.
func (s *Standby) Lead(term context.Context, h http.Handler) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.term, s.with = term, h
}

func (s *Standby) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	term, h := s.term, s.with
	s.mu.Unlock()
	if term == nil || term.Err() != nil {
		writeProblem(w, http.StatusMisdirectedRequest, s.problem())
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(term, cancel)()
	h.ServeHTTP(w, r.WithContext(ctx))
}

func (s *Standby) problem() *snapline.Error {
	e := &snapline.Error{Code: snapline.CodeUnavailable, Message: fmt.Sprintf("coordinator %s does not lead, and knows of none that does", s.Name),
		Hint: "name all coordinators: --server URL,URL,URL"}
	if l := s.Leader(); l == s.Name {
		e.Message = fmt.Sprintf("coordinator %s is taking over", s.Name)
	} else if l != "" {
		e.Message = fmt.Sprintf("coordinator %s stands by; the last that led is %s", s.Name, l)
	}
	return e
}

// ServeHandler is Serve with another handler, such as a Standby.
func (s Server) ServeHandler(ctx context.Context, l net.Listener, h http.Handler) error {
	if _, local := l.(*net.UnixListener); s.TLS != nil && !local {
		l = tls.NewListener(l, s.TLS)
	}
	return serve(ctx, l, h, s.Log)
}
