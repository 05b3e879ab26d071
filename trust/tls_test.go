package trust_test

import (
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/snapline/snapline/trust"
)

// shake makes a TLS connection between two configurations, and returns whose
// certificate the server saw ("" for none).
func shake(t *testing.T, server, client *tls.Config) (seen string, serverErr, clientErr error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	done := make(chan error, 1)
	go func() {
		raw, err := l.Accept()
		if err != nil {
			done <- err
			return
		}
		defer raw.Close()
		c := tls.Server(raw, server)
		err = c.Handshake()
		if certs := c.ConnectionState().PeerCertificates; err == nil && len(certs) > 0 {
			seen = certs[0].Subject.String()
		}
		done <- err
	}()
	raw, err := net.Dial("tcp", l.Addr().String())
	must(t, err)
	defer raw.Close()
	c := tls.Client(raw, client)
	clientErr = c.Handshake()
	if clientErr != nil {
		raw.Close()
	}
	return seen, <-done, clientErr
}

func TestTLS(t *testing.T) {
	s, other := newSite(t, trust.AuthorityOptions{}), newSite(t, trust.AuthorityOptions{})
	cred, err := s.ca.Coordinator("c1", []string{"127.0.0.1", "localhost"}, time.Now())
	must(t, err)
	server := trust.NewHolder(cred, nil).Server()
	agent := trust.NewHolder(s.joined(t, "h1"), nil)

	seen, serverErr, clientErr := shake(t, server, agent.Client("coordinator"))
	if seen != "CN=h1,OU=agent" || serverErr != nil || clientErr != nil {
		t.Errorf("agent: %q, %v, %v", seen, serverErr, clientErr)
	}
	if _, _, err := shake(t, server, agent.Client("nats")); err == nil || !strings.Contains(err.Error(), "coordinator/c1") {
		t.Errorf("a server of another kind: %v", err)
	}
	// An agent that plays coordinator: its certificate is not a server's.
	if _, _, err := shake(t, agent.Server(), agent.Client("coordinator", "agent")); err == nil || !strings.Contains(err.Error(), "not of this cluster") {
		t.Errorf("an agent as server: %v", err)
	}
	foreign := trust.NewHolder(other.joined(t, "h1"), nil)
	if _, _, err := shake(t, server, foreign.Client("coordinator")); err == nil || !strings.Contains(err.Error(), "not of this cluster") {
		t.Errorf("another cluster's server: %v", err)
	}
	// The other way round: a client of another cluster that does not care.
	careless := foreign.Client()
	careless.VerifyConnection = nil
	if _, err, _ := shake(t, server, careless); err == nil {
		t.Error("a certificate of another cluster was taken")
	}
	stranger := &tls.Config{InsecureSkipVerify: true}
	if seen, err, _ := shake(t, server, stranger); seen != "" || err != nil {
		t.Errorf("a client without certificate: %q, %v", seen, err)
	}
	old := &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}
	if _, _, err := shake(t, server, old); err == nil {
		t.Error("TLS 1.2 was spoken")
	}
	// Anybody else's program looks at names.
	pool := trustPool(t, cred)
	if _, _, err := shake(t, server, &tls.Config{RootCAs: pool, ServerName: "localhost"}); err != nil {
		t.Errorf("a foreign client: %v", err)
	}
}

func TestPinned(t *testing.T) {
	s, other := newSite(t, trust.AuthorityOptions{}), newSite(t, trust.AuthorityOptions{})
	token := s.token(t, "h1")
	right, err := s.ca.Coordinator("c1", nil, time.Now())
	must(t, err)
	if _, _, err := shake(t, trust.NewHolder(right, nil).Server(), trust.Pinned(token)); err != nil {
		t.Errorf("the coordinator: %v", err)
	}
	wrong, err := other.ca.Coordinator("c1", nil, time.Now())
	must(t, err)
	if _, _, err := shake(t, trust.NewHolder(wrong, nil).Server(), trust.Pinned(token)); !errors.Is(err, trust.ErrWrongCluster) {
		t.Errorf("another cluster's coordinator: %v", err)
	}
	// It cannot help itself by showing our authority's certificate beside its own.
	mixed := trust.NewHolder(wrong, nil).Server()
	get := mixed.GetCertificate
	mixed.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		c, err := get(hello)
		ours, _ := trust.NewHolder(right, nil).Server().GetCertificate(hello)
		both := *c
		both.Certificate = [][]byte{c.Certificate[0], ours.Certificate[1]}
		return &both, err
	}
	if _, _, err := shake(t, mixed, trust.Pinned(token)); err == nil {
		t.Error("a mixed chain was taken")
	}
	// An agent of this cluster is no coordinator.
	if _, _, err := shake(t, trust.NewHolder(s.joined(t, "h2"), nil).Server(), trust.Pinned(token)); err == nil {
		t.Error("an agent was taken for a coordinator")
	}
}

func TestExpiredServer(t *testing.T) {
	now := time.Now()
	s := newSite(t, trust.AuthorityOptions{})
	cred, err := s.ca.Coordinator("c1", nil, now)
	must(t, err)
	agent := trust.NewHolder(s.joined(t, "h1"), func() time.Time { return now })
	now = now.Add(trust.CoordinatorLife + time.Minute)
	if _, _, err := shake(t, trust.NewHolder(cred, nil).Server(), agent.Client("coordinator")); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("an expired coordinator: %v", err)
	}
}
