package api_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/api"
	"github.com/snapline/snapline/api/apitest"
	"github.com/snapline/snapline/bustest"
	"github.com/snapline/snapline/trust"
)

// guarded is a server that wants certificates.
type guarded struct {
	url   string
	a     *trust.Authority
	boss  *trust.Credential // an operator
	eve   *trust.Credential // a viewer
	mu    sync.Mutex
	audit []snapline.AuditEntry
	full  bool // the audit log's disk
}

func startGuarded(t *testing.T, svc api.Service) *guarded {
	t.Helper()
	g := &guarded{}
	dir := filepath.Join(t.TempDir(), "trust")
	must(t, trust.Init(dir, "boss", time.Now(), func(c *trust.Credential) error { g.boss = c; return nil }))
	ca, seed, err := trust.Open(dir)
	must(t, err)
	g.a = trust.NewAuthority(trust.AuthorityOptions{CA: ca})
	must(t, g.a.Load(t.Context(), bustest.NewStore(), seed))
	g.eve = g.admit(t, "user/eve", snapline.RoleViewer)
	cred, err := ca.Coordinator("c1", []string{"127.0.0.1"}, time.Now())
	must(t, err)
	l, err := api.Listen("127.0.0.1:0")
	must(t, err)
	g.url = "https://" + l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	s := api.Server{Service: svc, TLS: trust.NewHolder(cred, nil).Server(), Audit: g.note,
		Identify: func(cert *x509.Certificate) (api.Caller, error) {
			p, role, err := g.a.Check(cert)
			return api.Caller{Name: string(p), Role: role, Ends: g.a.Ends(p)}, err
		}}
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		must(t, <-done)
	})
	return g
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (g *guarded) admit(t *testing.T, p snapline.Principal, role snapline.Role) *trust.Credential {
	t.Helper()
	r, err := trust.NewRequest()
	must(t, err)
	issued, err := g.a.Issue(t.Context(), "user/boss", snapline.CertificateRequest{Principal: p, Role: role, CSR: r.PEM()})
	must(t, err)
	c, err := r.Credential(issued)
	must(t, err)
	return c
}

func (g *guarded) note(e snapline.AuditEntry) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.full {
		return errors.New("no space left on device")
	}
	g.audit = append(g.audit, e)
	return nil
}

func (g *guarded) as(t *testing.T, c *trust.Credential) *api.Client {
	t.Helper()
	client, err := api.NewTLSClient(strings.TrimPrefix(g.url, "https://"), trust.NewHolder(c, nil).Client(snapline.KindCoordinator))
	must(t, err)
	t.Cleanup(client.Close)
	return client
}

func wants(t *testing.T, what string, err error, code snapline.Code) {
	t.Helper()
	if e := api.AsError(orNil(err)); e.Code != code {
		t.Errorf("%s: %v, want code %s", what, err, code)
	}
}

func orNil(err error) error {
	if err == nil {
		return &snapline.Error{Code: "none"}
	}
	return err
}

func TestConformanceByTLS(t *testing.T) {
	apitest.Conformance(t, func(t *testing.T, held bool) apitest.Subject {
		return subject(t, held, func(t *testing.T, s api.Service) api.Service {
			g := startGuarded(t, s)
			return g.as(t, g.boss)
		})
	})
}

// TestViewerMayOnlyLook asks for every operation in the API's description, so
// that one that is added is an operator's unless somebody decides otherwise.
func TestViewerMayOnlyLook(t *testing.T) {
	h := api.Server{Service: newFake(t, apitest.Options{})}.Handler()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/openapi.json", nil))
	var doc struct {
		Paths map[string]map[string]struct{ OperationID string }
	}
	must(t, json.Unmarshal(w.Body.Bytes(), &doc))
	g := startGuarded(t, newFake(t, apitest.Options{}))
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: trust.NewHolder(g.eve, nil).Client(snapline.KindCoordinator)}}
	defer client.CloseIdleConnections()
	exceptions := map[string]bool{"audit": false, "renew": true}
	for path, methods := range doc.Paths {
		for method, o := range methods {
			may := method == "get"
			if x, ok := exceptions[o.OperationID]; ok {
				may = x
			}
			path := regexp.MustCompile(`{\w+}`).ReplaceAllString(path, "x")
			r, err := http.NewRequest(strings.ToUpper(method), g.url+path, strings.NewReader("{}"))
			must(t, err)
			r.Header.Set("Content-Type", "application/json")
			resp, err := client.Do(r)
			must(t, err)
			resp.Body.Close()
			if denied := resp.StatusCode == http.StatusForbidden; denied == may {
				t.Errorf("viewer: %s (%s %s): status %d", o.OperationID, method, path, resp.StatusCode)
			}
		}
	}
	for _, e := range g.audit {
		if e.Who != "user/eve" || e.Action != "renew" && e.Outcome != "denied" {
			t.Errorf("audit %+v", e)
		}
	}
	if len(g.audit) < 8 {
		t.Errorf("%d lines in the audit log", len(g.audit))
	}
}

func TestWhoMayComeIn(t *testing.T) {
	g := startGuarded(t, newFake(t, apitest.Options{}))
	if _, err := g.as(t, g.boss).Hosts(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := g.as(t, g.eve).Hosts(t.Context()); err != nil {
		t.Error(err)
	}
	_, err := client(t, "http://"+strings.TrimPrefix(g.url, "https://")).Hosts(t.Context())
	wants(t, "in clear", err, snapline.CodeDenied)
	if !strings.Contains(api.AsError(err).Hint, "--credential") {
		t.Errorf("in clear: %v", api.AsError(err).Hint)
	}
	stranger := trust.NewHolder(g.boss, nil).Client(snapline.KindCoordinator)
	stranger.GetClientCertificate = nil
	c, err := api.NewTLSClient(g.url, stranger)
	must(t, err)
	defer c.Close()
	_, err = c.Hosts(t.Context())
	wants(t, "without a certificate", err, snapline.CodeDenied)
	for _, path := range []string{"/openapi.json", "/v1/version", "/nosuch"} {
		h := &http.Client{Transport: &http.Transport{TLSClientConfig: stranger}}
		resp, err := h.Get(g.url + path)
		must(t, err)
		resp.Body.Close()
		h.CloseIdleConnections()
		if resp.StatusCode != http.StatusForbidden {
			t.Errorf("%s tells a stranger: status %d", path, resp.StatusCode)
		}
	}
	_, err = g.as(t, g.admit(t, "agent/h1", "")).Hosts(t.Context())
	wants(t, "an agent", err, snapline.CodeDenied)
}

// TestRevokedUserIsCut: what they follow ends, and the connection that they have
// is of no use any more.
func TestRevokedUserIsCut(t *testing.T) {
	fake := newFake(t, apitest.Options{Hold: true})
	g := startGuarded(t, fake)
	boss, eve := g.as(t, g.boss), g.as(t, g.eve)
	_, err := boss.Apply(t.Context(), twins)
	must(t, err)
	op, err := boss.Take(t.Context(), snapline.TakeRequest{Group: "twins"})
	must(t, err)
	select {
	case <-fake.Held():
	case <-time.After(20 * time.Second):
		t.Fatal("the operation did not come to be held")
	}
	r, err := http.NewRequestWithContext(t.Context(), "GET", g.url+"/v1/operations/"+string(op.ID)+"/progress", nil)
	must(t, err)
	h := &http.Client{Transport: &http.Transport{TLSClientConfig: trust.NewHolder(g.eve, nil).Client(snapline.KindCoordinator)}}
	defer h.CloseIdleConnections()
	resp, err := h.Do(r)
	must(t, err)
	defer resp.Body.Close()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for b := make([]byte, 4096); ; {
			if _, err := resp.Body.Read(b); err != nil {
				return
			}
		}
	}()
	if _, err := eve.Hosts(t.Context()); err != nil {
		t.Fatal(err)
	}
	must(t, g.a.Revoke(t.Context(), "user/eve"))
	_, err = eve.Hosts(t.Context())
	wants(t, "after the revocation", err, snapline.CodeDenied)
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Error("the stream goes on")
	}
	must(t, fake.Release(t.Context()))
}

func TestAudit(t *testing.T) {
	g := startGuarded(t, newFake(t, apitest.Options{}))
	boss, eve := g.as(t, g.boss), g.as(t, g.eve)
	_, err := boss.Apply(t.Context(), twins)
	must(t, err)
	op, err := boss.Take(t.Context(), snapline.TakeRequest{Group: "twins"})
	must(t, err)
	steps, err := boss.Progress(t.Context(), op.ID, 0)
	must(t, err)
	for range steps {
	}
	_, err = boss.Take(t.Context(), snapline.TakeRequest{Group: "nosuch"})
	wants(t, "no such group", err, snapline.CodeNotFound)
	_, err = eve.Restore(t.Context(), snapline.RestoreRequest{Snapshot: "twins-1"})
	wants(t, "a viewer's restore", err, snapline.CodeDenied)
	must(t, boss.Delete(t.Context(), "twins-1"))
	var got []string
	for _, e := range g.audit {
		if e.At.IsZero() || !strings.HasPrefix(e.From, "127.0.0.1:") {
			t.Errorf("%+v", e)
		}
		got = append(got, strings.Join([]string{e.Who, e.Action, e.Target, e.Outcome, e.Detail}, " "))
	}
	want := []string{
		"user/boss apply twins asked ", "user/boss apply twins done ",
		"user/boss take twins asked ", "user/boss take twins started " + string(op.ID),
		"user/boss take nosuch asked ", "user/boss take nosuch not_found ",
		"user/eve restore twins-1 denied ",
		"user/boss delete twins-1 asked ", "user/boss delete twins-1 done ",
	}
	for i := range max(len(want), len(got)) {
		if i >= len(got) || i >= len(want) || !strings.HasPrefix(got[i], want[i]) {
			t.Fatalf("audit log:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// TestWhatCannotBeNotedIsNotDone: the audit log's disk is full.
func TestWhatCannotBeNotedIsNotDone(t *testing.T) {
	g := startGuarded(t, newFake(t, apitest.Options{}))
	boss := g.as(t, g.boss)
	_, err := boss.Apply(t.Context(), twins)
	must(t, err)
	g.mu.Lock()
	g.full = true
	g.mu.Unlock()
	_, err = boss.Take(t.Context(), snapline.TakeRequest{Group: "twins"})
	wants(t, "take", err, snapline.CodeFailed)
	if all, err := boss.Groups(t.Context()); err != nil || len(all) != 1 || all[0].Operation != "" {
		t.Errorf("%+v, %v", all, err)
	}
}

// TestUnixSocketKnowsItsUser: whoever may open it is an operator.
func TestUnixSocketKnowsItsUser(t *testing.T) {
	var mu sync.Mutex
	var who []string
	l, err := api.Listen("unix://" + filepath.Join(t.TempDir(), "s.sock"))
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	s := api.Server{Service: newFake(t, apitest.Options{}), Audit: func(e snapline.AuditEntry) error {
		mu.Lock()
		defer mu.Unlock()
		who = append(who, e.Who)
		return nil
	}}
	go func() { done <- s.Serve(ctx, l) }()
	defer func() { cancel(); must(t, <-done) }()
	_, err = client(t, "unix://"+l.Addr().String()).Apply(t.Context(), twins)
	must(t, err)
	if len(who) != 2 || !strings.HasPrefix(who[0], "local/") || who[0] == "local/unknown" {
		t.Errorf("audit log names %q", who)
	}
	_, err = client(t, "unix://"+l.Addr().String()).Tokens(t.Context())
	wants(t, "tokens without an authority", err, snapline.CodeRefused)
}
