package nats

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"time"

	natsio "github.com/nats-io/nats.go"

	"github.com/snapline/snapline"
)

const (
	dialTimeout  = 2 * time.Second
	flushTimeout = 2 * time.Second
	drainTimeout = 2 * time.Second
	// The wait before each attempt to connect again doubles from first to last.
	firstRetry = 50 * time.Millisecond
	lastRetry  = 2 * time.Second
)

// ErrDisconnected says that there is no connection to the server now. It comes
// back by itself.
var ErrDisconnected = errors.New("not connected to the message bus")

// ErrRefused says that the server does not want this client.
var ErrRefused = errors.New("the message bus refuses this client")

// DialOptions say where the server is and who is calling.
type DialOptions struct {
	// URL is nats://host:port, tls://…, host:port, or several of them with commas
	// between: members of one cluster.
	URL string
	// InProcess, when set, is reached without a socket; URL is not used.
	InProcess *Server
	// As is who speaks: a server with TLS holds the caller to it.
	As snapline.Address
	// TLS is how to speak to the server; nil means in clear. It is spoken from the
	// first byte on, as embedded servers want it, but to a URL that begins with
	// tls:// as other NATS servers do.
	TLS *tls.Config
	// Token is shown to the server by a client without a certificate. With it Dial
	// makes one attempt and returns its error; ErrRefused when the server does not
	// want the token.
	Token string
	// Dial opens the TCP connection; nil means package net's way. It is also
	// called from other goroutines, for as long as the Conn lives.
	Dial func(network, address string) (net.Conn, error)
	// OnState hears true after each connect, when all receivers are registered
	// with the server, and false after each loss and Close. Calls come one after
	// the other. It must not block, nor call Close.
	OnState func(connected bool)
	// Log gets one line for each change of the connection; nil drops them.
	Log *slog.Logger
}

// Conn is a connection to a server that renews itself for ever. It is safe for
// use from several goroutines.
type Conn struct {
	nc     *natsio.Conn
	as     string // who speaks, in subjects
	log    *slog.Logger
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	closed chan struct{}
	link   link
}

// Dial makes one attempt to connect before it returns. When that fails the Conn
// goes on trying, and Dial still returns nil: an agent may be there before its
// coordinator. WaitConnected waits for it. The error is about the options, or
// ctx, which matters to Dial itself only.
func Dial(ctx context.Context, o DialOptions) (*Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("connect to message bus: %w", err)
	}
	if o.InProcess == nil && o.URL == "" {
		return nil, errors.New("connect to message bus: no address given")
	}
	if err := checkDotted("address", string(o.As)); err != nil {
		return nil, fmt.Errorf("connect to message bus: who speaks: %w", err)
	}
	c := &Conn{as: speaker(o.As), log: logger(o.Log), closed: make(chan struct{})}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.link.renew()
	nc, err := natsio.Connect(o.URL, c.options(o)...)
	if err != nil {
		c.cancel()
		if errors.Is(err, natsio.ErrAuthorization) {
			err = ErrRefused
		}
		return nil, fmt.Errorf("connect to message bus at %s: %w", o.URL, err)
	}
	c.nc = nc
	return c, nil
}

func (c *Conn) options(o DialOptions) []natsio.Option {
	opts := []natsio.Option{
		natsio.Name(string(o.As)), // for the server's tools
		natsio.CustomInboxPrefix(inboxPrefix + c.as),
		natsio.Timeout(dialTimeout),
		natsio.RetryOnFailedConnect(true),
		natsio.MaxReconnects(-1),
		natsio.IgnoreAuthErrorAbort(),
		natsio.CustomReconnectDelay(retryDelay),
		natsio.ReconnectBufSize(-1), // see the package comment
		natsio.PingInterval(pingInterval),
		natsio.MaxPingsOutstanding(maxPingsOut),
		natsio.FlusherTimeout(flushTimeout),
		natsio.DrainTimeout(drainTimeout),
	}
	if o.InProcess != nil {
		opts = append(opts, natsio.InProcessServer(o.InProcess.ns))
		if d := o.InProcess.door; d != nil {
			opts = append(opts, natsio.Token(d.secret))
		}
	} else if o.TLS != nil {
		opts = append(opts, natsio.Secure(o.TLS))
		if !strings.Contains(o.URL, "tls://") {
			opts = append(opts, natsio.TLSHandshakeFirst())
		}
	}
	if o.Token != "" {
		opts = append(opts, natsio.Token(o.Token), natsio.RetryOnFailedConnect(false), natsio.NoReconnect())
	}
	if o.Dial != nil {
		opts = append(opts, natsio.SetCustomDialer(dialer(o.Dial)))
	}
	return append(opts, c.observers(o)...)
}

// observers report changes of the connection. The client calls them one after
// the other from one goroutine, so silent needs no lock.
func (c *Conn) observers(o DialOptions) []natsio.Option {
	log := logger(o.Log)
	silent := false // this outage has been logged
	state := func(up bool) {
		if o.OnState != nil {
			o.OnState(up)
		}
	}
	connected := func(nc *natsio.Conn) {
		silent = false
		log.Info("connected to the message bus", "url", nc.ConnectedUrlRedacted())
		state(true)
	}
	return []natsio.Option{
		natsio.ConnectHandler(connected),
		natsio.ReconnectHandler(connected),
		natsio.DisconnectErrHandler(func(_ *natsio.Conn, err error) {
			if err != nil { // nil: Close
				silent = true
				log.Warn("lost the message bus; trying to reach it again until it is back", "error", err)
			}
			c.link.renew()
			state(false)
		}),
		natsio.ReconnectErrHandler(func(_ *natsio.Conn, err error) {
			if !silent && c.ctx.Err() == nil {
				silent = true
				log.Warn("the message bus cannot be reached; trying until it can", "error", err)
			}
		}),
		natsio.ErrorHandler(func(_ *natsio.Conn, sub *natsio.Subscription, err error) {
			if sub != nil {
				err = fmt.Errorf("%s: %w", sub.Subject, err)
			}
			log.Warn("message bus", "error", err)
		}),
		natsio.ClosedHandler(func(*natsio.Conn) { close(c.closed) }),
	}
}

// retryDelay is how long to wait before another attempt, counted from 1. Half
// of it is chance, so that all agents do not come back at the same moment.
func retryDelay(attempts int) time.Duration {
	d := lastRetry
	if attempts < 8 {
		d = min(firstRetry<<max(attempts-1, 0), lastRetry)
	}
	return d/2 + rand.N(d/2)
}

// WaitConnected returns nil as soon as there is a connection.
func (c *Conn) WaitConnected(ctx context.Context) error {
	changed := c.nc.StatusChanged(natsio.CONNECTED, natsio.CLOSED)
	defer c.nc.RemoveStatusListener(changed)
	for !c.nc.IsConnected() {
		if c.nc.IsClosed() {
			return fmt.Errorf("wait for message bus: %w", natsio.ErrConnectionClosed)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ErrDisconnected, ctx.Err())
		}
	}
	return nil
}

// Close sends what has been handed to Send, lets handlers that are running
// finish (2 s at the most), and closes the connection. Calling it twice is fine.
func (c *Conn) Close() error {
	c.cancel()
	if err := c.nc.Drain(); err != nil {
		c.nc.Close() // not connected: nothing to send
	}
	<-c.closed
	return nil
}

// settle waits until the server knows the subscription just made, so that a
// message sent afterwards by anybody reaches it. Without a connection there is
// nothing to wait for: a new connection begins with all subscriptions.
func (c *Conn) settle() {
	if c.nc.IsConnected() {
		_ = c.nc.FlushTimeout(flushTimeout)
	}
}

// dialer makes a function a natsio.CustomDialer.
type dialer func(network, address string) (net.Conn, error)

func (d dialer) Dial(network, address string) (net.Conn, error) { return d(network, address) }
