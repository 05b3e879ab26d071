package nats_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	natsio "github.com/nats-io/nats.go"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/bustest"
	"github.com/snapline/snapline/nats"
	"github.com/snapline/snapline/trust"
)

// TestDocumentedConfiguration runs a NATS server with the configuration that
// docs/nats.conf tells an operator to use, and our clients against it.
func TestDocumentedConfiguration(t *testing.T) {
	c := startCluster(t) // for its authority
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	r, err := trust.NewRequest()
	if err != nil {
		t.Fatal(err)
	}
	issued, err := c.a.Issue(within(t), "user/boss", snapline.CertificateRequest{Principal: "nats/n1", Hosts: []string{"127.0.0.1"}, CSR: r.PEM()})
	if err != nil {
		t.Fatal(err)
	}
	cred, err := r.Credential(issued)
	if err != nil {
		t.Fatal(err)
	}
	pem := filepath.Join(dir, "n1.pem")
	if err := cred.Write(pem); err != nil {
		t.Fatal(err)
	}
	conf, err := os.ReadFile("../docs/nats.conf")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer("/etc/nats/n1.pem", pem, "/etc/nats/ca.pem", write("ca.pem", issued.CA), "/var/lib/nats", dir, "0.0.0.0:4222", "127.0.0.1:-1").Replace(string(conf))
	opts, err := server.ProcessConfigFile(write("nats.conf", text))
	if err != nil {
		t.Fatal(err)
	}
	opts.NoSigs, opts.NoLog = true, true
	s, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(patience) {
		t.Fatal("the server did not start")
	}
	url := "tls://" + s.Addr().String()

	coordinator, err := c.ca.Coordinator("c1", nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	as := func(t *testing.T, cred *trust.Credential, a snapline.Address) *nats.Conn {
		return dial(t, nats.DialOptions{URL: url, As: a, TLS: trust.NewHolder(cred, nil).Client(snapline.KindCoordinator, snapline.KindNATS)})
	}
	h1, h2 := c.join(t, "h1"), c.join(t, "h2")
	bustest.TestBus(t, func(t *testing.T) (a, b snapline.Bus) {
		return as(t, coordinator, snapline.ToCoordinator), as(t, h1, "agent.h1")
	})
	openStore(t, as(t, coordinator, snapline.ToCoordinator))

	errs := make(chan error, 16)
	connect := func(cred *trust.Credential) (*natsio.Conn, error) {
		return natsio.Connect(url, natsio.Secure(trust.NewHolder(cred, nil).Client(snapline.KindNATS)), natsio.NoReconnect(),
			natsio.ErrorHandler(func(_ *natsio.Conn, _ *natsio.Subscription, err error) { errs <- err }))
	}
	nc, err := connect(h1)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	for _, subject := range []string{"snapline.msg.agent_h2.coordinator", "snapline.msg.coordinator.agent.h1", "$JS.API.INFO"} {
		if err := nc.Publish(subject, nil); err != nil {
			t.Fatal(err)
		}
		if err := next(t, errs); !errors.Is(err, natsio.ErrPermissionViolation) {
			t.Errorf("publish to %s: %v", subject, err)
		}
	}
	if nc, err := connect(h2); err == nil { // not in the configuration
		nc.Close()
		t.Error("an agent that is not listed was let in")
	}
}
