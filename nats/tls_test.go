package nats_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	natsio "github.com/nats-io/nats.go"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/bustest"
	"github.com/snapline/snapline/nats"
	"github.com/snapline/snapline/trust"
)

// cluster is a server with TLS and the authority that lets clients in.
type cluster struct {
	server      *nats.Server
	coordinator *nats.Conn
	ca          *trust.CA
	a           *trust.Authority
	log         *lockedBuffer
}

func startCluster(t *testing.T) *cluster {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "trust")
	if err := trust.Init(dir, "boss", time.Now(), func(*trust.Credential) error { return nil }); err != nil {
		t.Fatal(err)
	}
	ca, seed, err := trust.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	cred, err := ca.Coordinator("c1", []string{"127.0.0.1"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{ca: ca, log: new(lockedBuffer)}
	c.a = trust.NewAuthority(trust.AuthorityOptions{CA: ca, Ended: func(p snapline.Principal) {
		c.server.Disconnect(func(as snapline.Address) bool { return as != address(p) })
	}})
	c.server, err = nats.StartServer(nats.ServerOptions{Listen: "127.0.0.1:0", Dir: t.TempDir(), TLS: trust.NewHolder(cred, nil).Server(),
		Log: slog.New(slog.NewTextHandler(c.log, nil)),
		Authenticate: func(l nats.Login) (snapline.Address, error) {
			if l.Certificate == nil {
				id, err := c.a.CheckToken(context.Background(), l.Token)
				return trust.ToToken(id), err
			}
			p, _, err := c.a.Check(l.Certificate)
			return address(p), err
		}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.server.Shutdown)
	c.coordinator = dial(t, nats.DialOptions{InProcess: c.server})
	if err := c.a.Load(within(t), openStore(t, c.coordinator), seed); err != nil {
		t.Fatal(err)
	}
	stop, err := c.a.Serve(c.coordinator)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return c
}

func address(p snapline.Principal) snapline.Address {
	return snapline.Address(strings.Replace(string(p), "/", ".", 1))
}

// join makes a token and joins with it, over the network as an agent does.
func (c *cluster) join(t *testing.T, host snapline.HostName) *trust.Credential {
	t.Helper()
	token := c.token(t, host)
	conn := dial(t, nats.DialOptions{URL: c.server.URL(), As: trust.ToToken(token.ID()), TLS: trust.Pinned(token), Token: token.Password()})
	defer conn.Close()
	cred, err := trust.Join(within(t), conn, token, host)
	if err != nil {
		t.Fatal(err)
	}
	return cred
}

func (c *cluster) token(t *testing.T, host snapline.HostName) trust.Token {
	t.Helper()
	made, err := c.a.CreateToken(within(t), "user/boss", snapline.TokenRequest{Host: host})
	if err != nil {
		t.Fatal(err)
	}
	token, err := trust.ParseToken(made.Token)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// as dials with a credential, and may claim to be somebody else.
func (c *cluster) as(t *testing.T, cred *trust.Credential, o nats.DialOptions) *nats.Conn {
	t.Helper()
	o.URL, o.TLS = c.server.URL(), trust.NewHolder(cred, nil).Client(snapline.KindCoordinator)
	return dialOnly(t, o)
}

func TestBusByTLS(t *testing.T) {
	c := startCluster(t)
	h1 := c.join(t, "h1")
	bustest.TestBus(t, func(t *testing.T) (a, b snapline.Bus) {
		agent := c.as(t, h1, nats.DialOptions{As: "agent.h1"})
		if err := agent.WaitConnected(within(t)); err != nil {
			t.Fatal(err)
		}
		return dial(t, nats.DialOptions{InProcess: c.server}), agent
	})
}

// raw is an agent that does what it likes: a NATS client with its certificate.
func (c *cluster) raw(t *testing.T, cred *trust.Credential) (*natsio.Conn, <-chan error) {
	t.Helper()
	errs := make(chan error, 16)
	nc, err := natsio.Connect(c.server.URL(), natsio.Secure(trust.NewHolder(cred, nil).Client(snapline.KindCoordinator)), natsio.TLSHandshakeFirst(),
		natsio.NoReconnect(), natsio.ErrorHandler(func(_ *natsio.Conn, _ *natsio.Subscription, err error) { errs <- err }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc, errs
}

// TestForeignSubjectsAreRefused: an agent speaks as itself to coordinators, and
// hears what is for itself.
func TestForeignSubjectsAreRefused(t *testing.T) {
	c := startCluster(t)
	h1, h2 := c.join(t, "h1"), c.join(t, "h2")
	victim := c.as(t, h2, nats.DialOptions{As: "agent.h2"})
	if err := victim.WaitConnected(within(t)); err != nil {
		t.Fatal(err)
	}
	heard := make(chan string, 16)
	hear := func(conn *nats.Conn, at snapline.Address) {
		stop, err := conn.Receive(at, func(from snapline.Address, m []byte) { heard <- fmt.Sprintf("%s: %s", from, m) })
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(stop)
	}
	hear(victim, "agent.h2")
	hear(c.coordinator, snapline.ToCoordinator)
	nc, errs := c.raw(t, h1)
	for _, subject := range []string{
		"snapline.msg.agent_h2.coordinator",       // as another agent
		"snapline.ask.agent_h2.coordinator.renew", //
		"snapline.msg.coordinator.agent.h2",       // as the coordinator
		"snapline.msg.agent_h1.agent.h2",          // to another agent
		"snapline.msg.coordinator",                // as nobody
		"snapline.ask.token_00.coordinator.enrol", // as a token
		"$JS.API.STREAM.INFO.KV_snapline",         // the store
		"$KV.snapline.group.g", "$SYS.REQ.SERVER.PING", "_INBOX.agent_h2.x", "_INBOX.coordinator.x", "x",
	} {
		if err := nc.Publish(subject, []byte("forged")); err != nil {
			t.Fatal(err)
		}
		if err := next(t, errs); !errors.Is(err, natsio.ErrPermissionViolation) {
			t.Errorf("publish to %s: %v", subject, err)
		}
	}
	for _, subject := range []string{"snapline.msg.*.agent.h2", "snapline.msg.*.coordinator", "snapline.>", ">", "*.*.*.agent.h1",
		"_INBOX.>", "_INBOX.agent_h2.>", "$JS.>", "$KV.>"} {
		if _, err := nc.SubscribeSync(subject); err != nil {
			t.Fatal(err)
		}
		if err := next(t, errs); !errors.Is(err, natsio.ErrPermissionViolation) {
			t.Errorf("subscribe to %s: %v", subject, err)
		}
	}
	// What it may say arrives, and nothing arrived before it.
	if err := nc.Publish("snapline.msg.agent_h1.coordinator", []byte("honest")); err != nil {
		t.Fatal(err)
	}
	if m := next(t, heard); m != "agent.h1: honest" {
		t.Errorf("heard %q", m)
	}
	if err := c.coordinator.Send(t.Context(), "agent.h2", []byte("last")); err != nil {
		t.Fatal(err)
	}
	if m := next(t, heard); m != "coordinator: last" {
		t.Errorf("heard %q", m)
	}
}

// TestHostThatJoinsMayOnlyJoin: until it has a certificate.
func TestHostThatJoinsMayOnlyJoin(t *testing.T) {
	c := startCluster(t)
	token := c.token(t, "h1")
	errs := make(chan error, 16)
	nc, err := natsio.Connect(c.server.URL(), natsio.Secure(trust.Pinned(token)), natsio.TLSHandshakeFirst(), natsio.NoReconnect(), natsio.Token(token.Password()),
		natsio.ErrorHandler(func(_ *natsio.Conn, _ *natsio.Subscription, err error) { errs <- err }))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	me := "token_" + token.ID()
	for _, subject := range []string{"snapline.msg." + me + ".coordinator", "snapline.ask." + me + ".coordinator.hello", "snapline.ask." + me + ".coordinator.renew", "snapline.msg.agent_h1.coordinator"} {
		if err := nc.Publish(subject, nil); err != nil {
			t.Fatal(err)
		}
		if err := next(t, errs); !errors.Is(err, natsio.ErrPermissionViolation) {
			t.Errorf("publish to %s: %v", subject, err)
		}
	}
}

func TestStrangersAreRefused(t *testing.T) {
	c := startCluster(t)
	token := c.token(t, "h1")
	// In clear: the server waits for TLS and says nothing.
	raw, err := net.Dial("tcp", strings.TrimPrefix(c.server.URL(), "nats://"))
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	if _, err := raw.Write([]byte("CONNECT {}\r\nPING\r\nPUB snapline.msg.coordinator.agent.h1 1\r\nx\r\n")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1024)
	if err := raw.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if n, err := raw.Read(b); err == nil && b[0] != 21 { // a TLS alert
		t.Errorf("the server says in clear %q", b[:n])
	}
	stranger := &tls.Config{InsecureSkipVerify: true}
	for name, token := range map[string]string{"nothing": "", "a word": "hello", "another secret": token.ID() + "." + strings.Repeat("00", 16)} {
		nc, err := natsio.Connect(c.server.URL(), natsio.Secure(stranger), natsio.TLSHandshakeFirst(), natsio.NoReconnect(), natsio.Token(token))
		if !errors.Is(err, natsio.ErrAuthorization) {
			t.Errorf("a stranger with %s: %v", name, err)
		}
		if nc != nil {
			nc.Close()
		}
	}
	_, err = nats.Dial(within(t), nats.DialOptions{URL: c.server.URL(), As: "token.00", TLS: trust.Pinned(token), Token: "00.00"})
	if !errors.Is(err, nats.ErrRefused) {
		t.Errorf("Dial with a bad token = %v", err)
	}
	other := startCluster(t)
	_, err = nats.Dial(within(t), nats.DialOptions{URL: other.server.URL(), As: trust.ToToken(token.ID()), TLS: trust.Pinned(token), Token: token.Password()})
	if !errors.Is(err, trust.ErrWrongCluster) {
		t.Errorf("Dial of another cluster = %v", err)
	}
	foreign := other.join(t, "h1")
	careless := trust.NewHolder(foreign, nil).Client()
	careless.VerifyConnection = nil
	nc, err := natsio.Connect(c.server.URL(), natsio.Secure(careless), natsio.TLSHandshakeFirst(), natsio.NoReconnect())
	if err == nil {
		nc.Close()
		t.Error("an agent of another cluster was let in")
	}
}

// TestRevokedAgentIsCut: Revoke returns when the connection is closed, and the
// agent does not come back.
func TestRevokedAgentIsCut(t *testing.T) {
	c := startCluster(t)
	cred, kept := c.join(t, "h1"), c.join(t, "h2")
	onState, state := states()
	agent := c.as(t, cred, nats.DialOptions{As: "agent.h1", OnState: onState})
	if !next(t, state) {
		t.Fatal("not connected")
	}
	other := c.as(t, kept, nats.DialOptions{As: "agent.h2"})
	heard := make(chan string, 16)
	for at, conn := range map[snapline.Address]*nats.Conn{"agent.h1": agent, "agent.h2": other} {
		stop, err := conn.Receive(at, func(_ snapline.Address, m []byte) { heard <- string(at) })
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(stop)
	}
	if err := other.WaitConnected(within(t)); err != nil {
		t.Fatal(err)
	}
	if err := c.a.Revoke(within(t), "agent/h1"); err != nil {
		t.Fatal(err)
	}
	// What is sent from now on does not reach it.
	for _, to := range []snapline.Address{"agent.h1", "agent.h2"} {
		if err := c.coordinator.Send(t.Context(), to, nil); err != nil {
			t.Fatal(err)
		}
	}
	if at := next(t, heard); at != "agent.h2" {
		t.Errorf("%s heard something", at)
	}
	if next(t, state) {
		t.Error("it was told that it is connected")
	}
	await(t, "a refused attempt to come back", func() bool { return strings.Contains(c.log.String(), "was revoked at") })
	select {
	case up := <-state:
		t.Errorf("state %v after the revocation", up)
	default:
	}
	// With a new token the host is back.
	again := c.as(t, c.join(t, "h1"), nats.DialOptions{As: "agent.h1"})
	if err := again.WaitConnected(within(t)); err != nil {
		t.Error(err)
	}
}

// TestUnknownNameHasNothingToSay: authenticated, and of no kind that may speak.
func TestUnknownNameHasNothingToSay(t *testing.T) {
	for _, as := range []snapline.Address{"", "user.boss", "agent.H1", "agent.*", "agent.>", "token.*", "token.", "agent.h1.x", "coordinator.x"} {
		if p, ok := nats.Permissions(as); ok {
			t.Errorf("%q may do %+v", as, p)
		}
	}
}
