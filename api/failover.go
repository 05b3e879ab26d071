package api

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	// takeover is how long a request waits for a coordinator that leads: one may
	// have died a moment ago.
	takeover = 40 * time.Second
	// lapPause is the time between two rounds of asking all of them.
	lapPause = 250 * time.Millisecond
	// memberTimeout is how long one of several may take to begin an answer.
	memberTimeout = 30 * time.Second
)

// failover sends requests to the one of several coordinators that leads. Safe for
// use from several goroutines.
type failover struct {
	members []*Client

	mu sync.Mutex
	at int // who has answered last
}

// splitServers takes a list with commas between apart. A comma in a socket's path
// is no end of it.
func splitServers(list string) (all []string) {
	for part := range strings.SplitSeq(list, ",") {
		if n := len(all); n > 0 && strings.HasPrefix(all[n-1], "unix://") && !strings.Contains(part, "://") {
			all[n-1] += "," + part
			continue
		}
		all = append(all, strings.TrimSpace(part))
	}
	return all
}

// newFailover returns a client of all servers in a list.
func newFailover(list string, servers []string, config *tls.Config) (*Client, error) {
	f := &failover{}
	for _, server := range servers {
		c, err := NewTLSClient(server, config)
		if err != nil {
			return nil, err
		}
		if t, ok := c.http.Transport.(*http.Transport); ok {
			t.ResponseHeaderTimeout = memberTimeout
		}
		f.members = append(f.members, c)
	}
	return &Client{server: list, base: "http://coordinator", http: &http.Client{Transport: f}}, nil
}

// RoundTrip implements http.RoundTripper. What a coordinator may have begun to do
// is not asked of another one.
func (f *failover) RoundTrip(req *http.Request) (*http.Response, error) {
	f.mu.Lock()
	first := f.at
	f.mu.Unlock()
	limit := time.Now().Add(takeover)
	for try := 0; ; try++ {
		at := (first + try) % len(f.members)
		resp, err := f.members[at].roundTrip(req)
		switch {
		case err == nil && resp.StatusCode != http.StatusMisdirectedRequest:
			f.mu.Lock()
			f.at = at
			f.mu.Unlock()
			return resp, nil
		case req.Context().Err() != nil:
			return resp, err
		case err != nil && !repeatable(req, err):
			return nil, fmt.Errorf("%s: %w; it may have been done", f.members[at].server, err)
		}
		if (try+1)%len(f.members) > 0 {
			drop(resp)
			continue
		}
		if time.Now().After(limit) {
			return resp, err
		}
		drop(resp)
		if !pause(req.Context(), lapPause) {
			return nil, req.Context().Err()
		}
	}
}

// roundTrip sends a request that names no server to this client's.
func (c *Client) roundTrip(req *http.Request) (*http.Response, error) {
	r := req.Clone(req.Context())
	if req.GetBody != nil {
		body, err := req.GetBody()
		if err != nil {
			return nil, err
		}
		r.Body = body
	}
	scheme, host, _ := strings.Cut(c.base, "://")
	r.URL.Scheme, r.URL.Host, r.Host = scheme, host, ""
	return c.http.Transport.RoundTrip(r)
}

// repeatable reports whether a request that failed can do no harm when another
// coordinator gets it: it only asks, or has not been sent.
func repeatable(req *http.Request, err error) bool {
	var dial *net.OpError
	return req.Method == http.MethodGet || errors.As(err, &dial) && dial.Op == "dial"
}

func drop(resp *http.Response) {
	if resp != nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxBody)) // for the connection's next use
		resp.Body.Close()
	}
}

// CloseIdleConnections is what http.Client calls.
func (f *failover) CloseIdleConnections() {
	for _, c := range f.members {
		c.Close()
	}
}
