package nats

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"golang.org/x/sys/unix"

	"github.com/snapline/snapline"
)

// MaxMessage is the largest message, question, answer or stored value that an
// embedded server takes, in bytes.
const MaxMessage = 1 << 20

const (
	// defaultMaxStore is ample: the state is some kilobytes for every group.
	defaultMaxStore = 256 << 20
	// maxMemory bounds memory-backed streams. There are none of ours, but zero
	// would mean three quarters of the machine.
	maxMemory = 16 << 20
	// maxPending is what may wait for one slow client before it is cut off.
	maxPending = 8 << 20
	// maxClients and maxSubs bound what strangers and agents can make the server
	// hold: an agent has one connection and a handful of subscriptions.
	maxClients = 20_000
	maxSubs    = 10_000
	// loginTimeout is how long a client may take to say who it is.
	loginTimeout = 10 * time.Second
	// scheme marks the URL of an embedded server.
	scheme = "nats://"
	// writeTimeout cuts a client off that does not read.
	writeTimeout = 2 * time.Second
	pingInterval = 3 * time.Second
	maxPingsOut  = 2
)

// ServerOptions say how an embedded server runs.
type ServerOptions struct {
	// Listen is the TCP address, host:port; port 0 takes a free one. Empty: the
	// server is reached from within the process only.
	Listen string
	// Dir holds the JetStream state. It is made when missing, and locked.
	Dir string
	// MaxStore bounds what is kept in Dir, in bytes; 0 means 256 MiB.
	MaxStore int64
	// TLS is how to speak to clients; nil means in clear. It is spoken from the
	// first byte on.
	TLS *tls.Config
	// Authenticate says as whom a client may speak, or why it is refused. It is
	// called by several goroutines, one after the other, and must not take long:
	// others wait. Needed with TLS; without TLS it is not asked, and everybody may
	// do everything.
	Authenticate func(Login) (snapline.Address, error)
	// Cluster, when set, makes it one of several.
	Cluster *Cluster
	// Log gets the server's warnings and errors; nil drops them.
	Log *slog.Logger
}

// Server is a NATS server with JetStream inside this process. What its Store
// has accepted has been fsynced.
type Server struct {
	ns   *server.Server
	url  string
	door *door // nil without TLS
	lock *os.File
	stop func()
}

// StartServer starts a server and returns when clients can connect. The
// listening socket is opened on the calling thread, and so in its network
// namespace. End it with Shutdown.
func StartServer(o ServerOptions) (*Server, error) {
	opts, err := o.native()
	if err != nil {
		return nil, err
	}
	log := &serverLog{to: logger(o.Log)}
	var d *door
	if o.TLS != nil {
		d = newDoor(o.Authenticate, log)
		opts.CustomClientAuthentication = d
	}
	lock, err := lockDir(o.Dir)
	if err != nil {
		return nil, err
	}
	ns, err := server.NewServer(opts)
	if err != nil {
		lock.Close()
		return nil, fmt.Errorf("start message bus: %w", err)
	}
	ns.SetLoggerV2(log, false, false, false)
	if d != nil {
		d.ns = ns
	}
	ns.Start()

	s := &Server{ns: ns, door: d, lock: lock}
	s.stop = sync.OnceFunc(s.shutdown)
	if err := log.failure(); err != nil {
		s.stop()
		return nil, startError(o, err)
	}
	if o.Listen != "" {
		s.url = scheme + ns.Addr().String()
	}
	return s, nil
}

// startError says what the operator can do about a server that did not start.
func startError(o ServerOptions, err error) error {
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return fmt.Errorf("message bus cannot listen on %s: another program does already; stop it or choose another address: %w", o.Listen, err)
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return fmt.Errorf("message bus cannot listen on %s: this machine has no such address: %w", o.Listen, err)
	case errors.Is(err, unix.ENOSPC):
		return fmt.Errorf("message bus directory %s is full: %w", o.Dir, err)
	}
	return fmt.Errorf("start message bus on %s with directory %s: %w", o.Listen, o.Dir, err)
}

// native translates the options into the server's own.
func (o ServerOptions) native() (*server.Options, error) {
	if o.Dir == "" {
		return nil, errors.New("start message bus: no directory given")
	}
	if o.TLS != nil && o.Authenticate == nil {
		return nil, errors.New("start message bus: TLS needs somebody who says who is who")
	}
	opts := &server.Options{
		ServerName:             "snapline",
		DontListen:             o.Listen == "",
		NoSigs:                 true,
		NoLog:                  true,
		DisableJetStreamBanner: true,
		MaxPayload:             MaxMessage,
		MaxPending:             maxPending,
		MaxConn:                maxClients,
		MaxSubs:                maxSubs,
		AuthTimeout:            loginTimeout.Seconds(),
		TLSConfig:              o.TLS,
		TLSTimeout:             loginTimeout.Seconds(),
		TLSHandshakeFirst:      o.TLS != nil,
		WriteDeadline:          writeTimeout,
		PingInterval:           pingInterval,
		MaxPingsOut:            maxPingsOut,
		JetStream:              true,
		StoreDir:               o.Dir,
		SyncAlways:             true,
		JetStreamMaxMemory:     maxMemory,
		JetStreamMaxStore:      o.MaxStore,
	}
	// A server on 0.0.0.0 would tell its clients every address that the machine
	// has; they would try those, too, that they cannot reach.
	opts.Cluster.NoAdvertise = true
	if o.Cluster != nil {
		if err := o.Cluster.apply(opts); err != nil {
			return nil, fmt.Errorf("start message bus: %w", err)
		}
	}
	if opts.JetStreamMaxStore <= 0 {
		opts.JetStreamMaxStore = defaultMaxStore
	}
	if opts.DontListen {
		return opts, nil
	}
	host, port, err := net.SplitHostPort(o.Listen)
	if err != nil {
		return nil, fmt.Errorf("message bus address %q: use HOST:PORT: %w", o.Listen, err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("message bus address %q: the port must be a number up to 65535", o.Listen)
	}
	opts.Host, opts.Port = host, int(n)
	if n == 0 {
		opts.Port = server.RANDOM_PORT // 0 would mean 4222
	}
	return opts, nil
}

// URL is where clients connect, nats://host:port; empty without Listen.
func (s *Server) URL() string { return s.url }

// Disconnect closes every connection of those whom keep does not want, except
// those of this process. With a refusal by Authenticate before it, nobody is
// missed. It does nothing without TLS.
func (s *Server) Disconnect(keep func(snapline.Address) bool) {
	if s.door != nil {
		s.door.putOut(keep)
	}
}

// Shutdown disconnects the clients, closes the store and unlocks the directory;
// when it returns another server may use it. Calling it twice is fine.
func (s *Server) Shutdown() { s.stop() }

func (s *Server) shutdown() {
	s.ns.Shutdown()
	s.ns.WaitForShutdown()
	s.lock.Close() // releases the flock
}

// logger returns l, or one that drops everything.
func logger(l *slog.Logger) *slog.Logger {
	if l == nil {
		return slog.New(slog.DiscardHandler)
	}
	return l
}
