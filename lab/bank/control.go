package bank

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// serveControl answers on the control port. GET /state and /bench read; every
// POST answers with the state after it.
func (m *Member) serveControl() error {
	l, err := net.Listen("tcp", net.JoinHostPort(m.address, ControlPort))
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /state", func(w http.ResponseWriter, r *http.Request) { reply(w, m.State()) })
	mux.HandleFunc("GET /bench", func(w http.ResponseWriter, r *http.Request) { reply(w, m.bench.read()) })
	for path, act := range map[string]func(){"/quiesce": m.Quiesce, "/resume": m.Resume, "/gaps/reset": m.ResetGaps} {
		mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
			act()
			reply(w, m.State())
		})
	}
	mux.HandleFunc("POST /ping", m.handleOrder(func(o order) error { return m.StartPing(o.Peer) }))
	mux.HandleFunc("POST /writer", m.handleOrder(func(o order) error { return m.StartWriter(o.MiB) }))
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	done := m.closeAtEnd(srv)
	m.wg.Go(func() {
		defer done()
		_ = srv.Serve(l) // ends with the member
	})
	return nil
}

// order is the body of POST /ping and /writer.
type order struct {
	Peer string `json:"peer,omitempty"`
	MiB  int    `json:"mib,omitempty"`
}

func (m *Member) handleOrder(act func(order) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var o order
		err := json.NewDecoder(io.LimitReader(r.Body, 1<<16)).Decode(&o)
		if err == nil {
			err = act(o)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		reply(w, m.bench.read())
	}
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the asker has gone
}

// Dial connects as net.Dialer.DialContext does.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// Client speaks to one member's control port. Safe for use from several
// goroutines.
type Client struct {
	address string
	http    *http.Client
}

// NewClient returns a client of the member whose control port is at address
// (host:port). dial may be nil. Every call makes a connection of its own: one
// that is kept would not survive the member's restore.
func NewClient(address string, dial Dial) *Client {
	t := &http.Transport{DialContext: dial, DisableKeepAlives: true}
	return &Client{address: address, http: &http.Client{Transport: t, Timeout: 10 * time.Second}}
}

// State reads the member's books.
func (c *Client) State(ctx context.Context) (s State, err error) {
	return s, c.call(ctx, http.MethodGet, "/state", nil, &s)
}

// Quiesce ends the beginning of transfers and returns the books then.
func (c *Client) Quiesce(ctx context.Context) (s State, err error) {
	return s, c.call(ctx, http.MethodPost, "/quiesce", nil, &s)
}

// Resume lets the member move money again.
func (c *Client) Resume(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, "/resume", nil, &State{})
}

// ResetGaps forgets the longest gaps, of flows and of pings.
func (c *Client) ResetGaps(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, "/gaps/reset", nil, &State{})
}

// Bench reads how pinging and writing go.
func (c *Client) Bench(ctx context.Context) (s BenchState, err error) {
	return s, c.call(ctx, http.MethodGet, "/bench", nil, &s)
}

// StartPing tells the member to ping a peer for ever.
func (c *Client) StartPing(ctx context.Context, peer string) error {
	return c.call(ctx, http.MethodPost, "/ping", order{Peer: peer}, &BenchState{})
}

// StartWriter tells the member to write over mib MiB of memory for ever.
func (c *Client) StartWriter(ctx context.Context, mib int) error {
	return c.call(ctx, http.MethodPost, "/writer", order{MiB: mib}, &BenchState{})
}

func (c *Client) call(ctx context.Context, method, path string, question, answer any) error {
	body, err := json.Marshal(question)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+c.address+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("bank: %w", err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(strings.TrimSpace(string(data)))
	}
	if err == nil {
		err = json.Unmarshal(data, answer)
	}
	if err != nil {
		return fmt.Errorf("bank %s at %s: %w", path, c.address, err)
	}
	return nil
}
