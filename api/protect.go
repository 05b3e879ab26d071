package api

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"encoding/json"

	"github.com/snapline/snapline"
)

const (
	maxBody      = 1 << 20 // bytes; a group of 5,000 members is a third of it
	bodyTimeout  = 10 * time.Second
	replyTimeout = 2 * time.Minute // an answer that waits for slow agents
)

// protect bounds what a client can make the server wait for or hold, and keeps
// web pages of other origins, which a user's browser would let reach a server
// on loopback, from changing anything.
func protect(next http.Handler) http.Handler {
	sameOrigin := http.NewCrossOriginProtection()
	sameOrigin.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		writeProblem(w, http.StatusForbidden, &snapline.Error{Code: snapline.CodeInvalid, Message: "a web page of another origin may not do this"})
	}))
	return sameOrigin.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		// Not every ResponseWriter has deadlines (httptest's has none); the
		// limits then are whatever its owner set.
		_ = rc.SetReadDeadline(time.Now().Add(bodyTimeout))
		_ = rc.SetWriteDeadline(time.Now().Add(replyTimeout))
		b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		// net/http goes on reading, to notice a client that goes away: a deadline
		// left behind would end the request's context.
		_ = rc.SetReadDeadline(time.Time{})
		if err != nil {
			writeProblem(w, bodyStatus(err), &snapline.Error{Code: snapline.CodeInvalid, Message: fmt.Sprintf("read the request's body: %v", err)})
			return
		}
		r.Body = wholeBody{bytes.NewReader(b)}
		next.ServeHTTP(w, r)
	}))
}

// wholeBody is a body that has been read, and can be read again.
type wholeBody struct{ *bytes.Reader }

func (wholeBody) Close() error { return nil }

func bodyStatus(err error) int {
	if tooBig := (*http.MaxBytesError)(nil); errors.As(err, &tooBig) {
		return http.StatusRequestEntityTooLarge
	}
	return http.StatusBadRequest
}

// problemsFor serves mux, with Problems in place of its plain-text answers for
// paths and methods that it does not have.
func problemsFor(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, pattern := mux.Handler(r)
		if pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		no := refusal{header: w.Header()}
		h.ServeHTTP(&no, r)
		e := &snapline.Error{Code: snapline.CodeNotFound, Message: "there is nothing at " + r.URL.Path, Hint: "GET /openapi.json lists what there is"}
		if no.status == http.StatusMethodNotAllowed {
			e.Code, e.Message = snapline.CodeInvalid, fmt.Sprintf("%s cannot be used on %s (only %s)", r.Method, r.URL.Path, w.Header().Get("Allow"))
		}
		writeProblem(w, no.status, e)
	})
}

// refusal takes the status and headers of an answer and drops its body.
type refusal struct {
	header http.Header
	status int
}

func (n *refusal) Header() http.Header         { return n.header }
func (n *refusal) WriteHeader(status int)      { n.status = status }
func (n *refusal) Write(p []byte) (int, error) { return len(p), nil }

func writeProblem(w http.ResponseWriter, status int, e *snapline.Error) {
	p := NewProblem(e)
	p.Status, p.Title = status, http.StatusText(status)
	w.Header().Set("Content-Type", problemType)
	w.WriteHeader(status)
	// The client may have gone; there is nobody left to tell.
	_ = json.NewEncoder(w).Encode(p)
}
