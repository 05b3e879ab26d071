package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/snapline/snapline"
)

// Client is a Service that asks a coordinator over HTTP. It may be used from
// several goroutines.
type Client struct {
	server string // as the user wrote it, for messages
	base   string
	http   *http.Client
}

var _ Service = (*Client)(nil)

// NewClient returns a client of the server at http://host:port, https://host:port
// or unix:///path, or of several coordinators with commas between, of which one
// leads. It connects when it is first used.
func NewClient(server string) (*Client, error) { return NewTLSClient(server, nil) }

// NewTLSClient is NewClient with what is needed to speak to https://host:port,
// which host:port then means, too: the caller's certificate, and whom to trust.
func NewTLSClient(server string, config *tls.Config) (*Client, error) {
	if all := splitServers(server); len(all) > 1 {
		return newFailover(server, all, config)
	}
	if config != nil && !strings.Contains(server, "://") {
		server = "https://" + server
	}
	a, err := parseAddress(server)
	if err != nil {
		return nil, &snapline.Error{Code: snapline.CodeInvalid, Message: err.Error(), Err: err}
	}
	dial := net.Dialer{Timeout: 5 * time.Second}
	c := &Client{server: server, base: "http://" + a.at}
	switch {
	case a.network == "unix":
		c.base = "http://coordinator" // the Host header; the path says nothing
	case a.tls:
		c.base = "https://" + a.at
	}
	// No proxy: a coordinator is on the site's own network, or a socket.
	c.http = &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if a.network == "unix" {
				network, addr = "unix", a.at
			}
			return dial.DialContext(ctx, network, addr)
		},
		TLSClientConfig:       config,
		TLSHandshakeTimeout:   10 * time.Second,
		MaxIdleConnsPerHost:   2,
		IdleConnTimeout:       30 * time.Second,
		ResponseHeaderTimeout: replyTimeout,
	}}
	return c, nil
}

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Version asks which program answers.
func (c *Client) Version(ctx context.Context) (Version, error) {
	return get[Version](ctx, c, "/v1/version")
}

func (c *Client) Hosts(ctx context.Context) ([]snapline.HostStatus, error) {
	return get[[]snapline.HostStatus](ctx, c, "/v1/hosts")
}

func (c *Client) Doctor(ctx context.Context, g snapline.GroupName) ([]snapline.Finding, error) {
	path := "/v1/doctor"
	if g != "" {
		path += "?group=" + url.QueryEscape(string(g))
	}
	var found []snapline.Finding
	err := c.do(ctx, http.MethodPost, path, nil, &found)
	return found, err
}

func (c *Client) Apply(ctx context.Context, g snapline.Group) (snapline.GroupStatus, error) {
	var s snapline.GroupStatus
	// The schema knows no null, and would hide what else is wrong: send empty
	// values, and the server lists all reasons.
	g.Members = append([]snapline.Member{}, g.Members...)
	for i := range g.Members {
		if g.Members[i].QEMU == nil {
			g.Members[i].QEMU = &snapline.QEMU{}
		}
	}
	err := c.do(ctx, http.MethodPut, "/v1/groups/"+url.PathEscape(string(g.Name)), g, &s)
	return s, err
}

func (c *Client) Groups(ctx context.Context) ([]snapline.GroupStatus, error) {
	return get[[]snapline.GroupStatus](ctx, c, "/v1/groups")
}

func (c *Client) Status(ctx context.Context, g snapline.GroupName) (snapline.GroupStatus, error) {
	return get[snapline.GroupStatus](ctx, c, "/v1/groups/"+url.PathEscape(string(g)))
}

func (c *Client) Take(ctx context.Context, r snapline.TakeRequest) (snapline.Operation, error) {
	var o snapline.Operation
	err := c.do(ctx, http.MethodPost, "/v1/snapshots", r, &o)
	return o, err
}

func (c *Client) Restore(ctx context.Context, r snapline.RestoreRequest) (snapline.Operation, error) {
	var o snapline.Operation
	err := c.do(ctx, http.MethodPost, "/v1/snapshots/"+url.PathEscape(string(r.Snapshot))+"/restore", restoreBody{Place: r.Place, ReplayChannel: r.ReplayChannel}, &o)
	return o, err
}

func (c *Client) Operation(ctx context.Context, id snapline.OperationID) (snapline.Operation, error) {
	return get[snapline.Operation](ctx, c, "/v1/operations/"+url.PathEscape(string(id)))
}

func (c *Client) Cancel(ctx context.Context, id snapline.OperationID) error {
	return c.do(ctx, http.MethodDelete, "/v1/operations/"+url.PathEscape(string(id)), nil, nil)
}

func (c *Client) Snapshots(ctx context.Context, g snapline.GroupName) ([]snapline.Snapshot, error) {
	path := "/v1/snapshots"
	if g != "" {
		path += "?group=" + url.QueryEscape(string(g))
	}
	return get[[]snapline.Snapshot](ctx, c, path)
}

func (c *Client) Snapshot(ctx context.Context, id snapline.SnapshotID) (snapline.Snapshot, error) {
	return get[snapline.Snapshot](ctx, c, "/v1/snapshots/"+url.PathEscape(string(id)))
}

func (c *Client) Delete(ctx context.Context, id snapline.SnapshotID) error {
	return c.do(ctx, http.MethodDelete, "/v1/snapshots/"+url.PathEscape(string(id)), nil, nil)
}

func (c *Client) Events(ctx context.Context, g snapline.GroupName, after uint64) ([]snapline.Event, error) {
	q := url.Values{}
	if g != "" {
		q.Set("group", string(g))
	}
	if after > 0 {
		q.Set("after", strconv.FormatUint(after, 10))
	}
	path := "/v1/events"
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	return get[[]snapline.Event](ctx, c, path)
}

func (c *Client) RepositoryInfo(ctx context.Context) (snapline.RepositoryInfo, error) {
	return get[snapline.RepositoryInfo](ctx, c, "/v1/repository")
}

func (c *Client) Prune(ctx context.Context, r snapline.PruneRequest) (snapline.Operation, error) {
	var o snapline.Operation
	err := c.do(ctx, http.MethodPost, "/v1/repository/prune", r, &o)
	return o, err
}

func (c *Client) Repair(ctx context.Context) (snapline.Operation, error) {
	var o snapline.Operation
	err := c.do(ctx, http.MethodPost, "/v1/repository/repair", nil, &o)
	return o, err
}

func get[T any](ctx context.Context, c *Client, path string) (T, error) {
	var v T
	err := c.do(ctx, http.MethodGet, path, nil, &v)
	return v, err
}

// do sends one request; in and out are JSON bodies, or nil. A failed one is not
// repeated: the user sees it at once and decides.
func (c *Client) do(ctx context.Context, method, path string, in, out any) error {
	resp, err := c.send(ctx, method, path, in, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return c.unreachable(ctx, fmt.Errorf("read the answer: %w", err))
	}
	return nil
}

// send returns the answer to a request that succeeded; its body is to be closed.
func (c *Client) send(ctx context.Context, method, path string, in any, header http.Header) (*http.Response, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("encode request: %w", err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, &snapline.Error{Code: snapline.CodeInvalid, Message: err.Error(), Err: err}
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for k, v := range header {
		req.Header[k] = v
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, c.problem(resp)
}

// problem reads an answer that is an error.
func (c *Client) problem(resp *http.Response) error {
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	var p Problem
	if err == nil && json.Unmarshal(b, &p) == nil && p.Code != "" {
		return p.Err()
	}
	if resp.StatusCode == http.StatusBadRequest && bytes.Contains(b, []byte("HTTP request to an HTTPS server")) {
		return &snapline.Error{Code: snapline.CodeDenied, Message: c.server + " is a coordinator that wants to know who asks",
			Hint: "name your credential with --credential FILE or SNAPLINE_CREDENTIAL, and the server as https://HOST:PORT"}
	}
	return &snapline.Error{Code: codeOf(resp.StatusCode),
		Message: fmt.Sprintf("%s answered %s, not as a Snapline coordinator does", c.server, resp.Status),
		Hint:    "check that --server or SNAPLINE_SERVER names a coordinator"}
}

// unreachable explains a request that got no answer.
func (c *Client) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled) {
		return &snapline.Error{Code: snapline.CodeCancelled, Message: "interrupted", Err: err}
	}
	cause := err
	if u := (*url.Error)(nil); errors.As(err, &u) {
		cause = u.Err // its text repeats method and URL, which for a socket is a made-up one
	}
	return &snapline.Error{Code: snapline.CodeUnavailable, Err: err,
		Message: fmt.Sprintf("no answer from a coordinator at %s: %v", c.server, cause),
		Hint:    "start one with `snapline coordinator`, or name another with --server URL or SNAPLINE_SERVER"}
}
