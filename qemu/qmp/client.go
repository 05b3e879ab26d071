package qmp

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// GreetingWait is how long a free monitor may take to greet. QEMU greets from
// its main loop at once; a monitor that already serves a client never does.
const GreetingWait = 2 * time.Second

// ErrClosed is the Err of a client whose own Close ended it.
var ErrClosed = errors.New("QMP connection closed")

// BusyError says that somebody else holds the monitor.
type BusyError struct{ Path string }

func (e *BusyError) Error() string {
	return fmt.Sprintf("QMP socket %s is in use by another client; give Snapline a -qmp socket of its own", e.Path)
}

// Client is one connection to a QEMU monitor. Its methods may be called from
// several goroutines.
type Client struct {
	conn    *net.UnixConn
	path    string
	version Version
	oob     bool

	writing sync.Mutex // one whole line, with its descriptor, at a time

	mu          sync.Mutex
	lastID      uint64
	pending     map[uint64]chan message
	subscribers map[*Events]struct{}
	err         error
	done        chan struct{}
}

// Dial connects to the monitor at path and negotiates. It gives up after 2 s
// without a greeting (*BusyError) or when ctx ends.
func Dial(ctx context.Context, path string) (*Client, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	return New(ctx, conn.(*net.UnixConn), path)
}

// New negotiates on a fresh connection, which it owns from then on. path is
// for messages.
func New(ctx context.Context, conn *net.UnixConn, path string) (*Client, error) {
	c := newClient(conn, path)
	r := bufio.NewReader(conn)
	if err := c.greet(ctx, r); err != nil {
		conn.Close()
		return nil, err
	}
	go c.read(json.NewDecoder(r))
	if err := c.negotiate(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func newClient(conn *net.UnixConn, path string) *Client {
	return &Client{
		conn: conn, path: path,
		pending:     make(map[uint64]chan message),
		subscribers: make(map[*Events]struct{}),
		done:        make(chan struct{}),
	}
}

// greetingLines bounds what may come before a greeting.
const greetingLines = 64

// greet reads up to the greeting. QEMU does not discard what it could not send
// to a client that died, so events and answers meant for that one, the first of
// them cut off, may come before it.
func (c *Client) greet(ctx context.Context, r *bufio.Reader) error {
	if err := c.conn.SetReadDeadline(time.Now().Add(GreetingWait)); err != nil {
		return err
	}
	unhook := context.AfterFunc(ctx, func() { c.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer unhook()
	silent := true
	for range greetingLines {
		line, err := r.ReadBytes('\n')
		silent = silent && len(line) == 0
		var m message
		switch {
		case err == nil && json.Unmarshal(line, &m) == nil && m.Greeting != nil && m.Greeting.Version.QEMU != nil:
			c.version, c.oob = *m.Greeting.Version.QEMU, m.offersOOB()
			return c.conn.SetReadDeadline(time.Time{})
		case err == nil:
			continue
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case silent && errors.Is(err, os.ErrDeadlineExceeded):
			return &BusyError{Path: c.path}
		case silent && errors.Is(err, io.EOF):
			return fmt.Errorf("QMP socket %s: closed without a greeting", c.path)
		}
		break
	}
	return fmt.Errorf("QMP socket %s: what answers is not a QEMU machine protocol monitor (is it an HMP monitor or a guest agent socket?)", c.path)
}

func (c *Client) negotiate(ctx context.Context) error {
	var caps Negotiate
	if c.oob {
		caps.Enable = []string{"oob"}
	}
	_, err := Run(ctx, c, caps)
	return err
}

// Version is the version of the QEMU at the other end.
func (c *Client) Version() Version { return c.version }

// Path is the socket's path.
func (c *Client) Path() string { return c.path }

// Dup returns a duplicate of the connection's descriptor, for a process that
// must be able to speak on it after this one has died. It is a bare descriptor
// because os/exec would make an *os.File, and with it the connection, blocking.
func (c *Client) Dup() (int, error) {
	raw, err := c.conn.SyscallConn()
	if err != nil {
		return -1, err
	}
	fd := -1
	var dupErr error
	if err := raw.Control(func(own uintptr) {
		fd, dupErr = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 3)
	}); err != nil {
		return -1, err
	}
	return fd, dupErr
}

// Done is closed when the connection has died or was closed.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err says why Done is closed; nil before.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close ends the connection; the VM goes on.
func (c *Client) Close() error {
	c.fail(ErrClosed)
	return nil
}

// fail ends the connection for the first reason given.
func (c *Client) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = err
	c.conn.Close()
	close(c.done)
}

// read delivers messages until the connection ends.
func (c *Client) read(dec *json.Decoder) {
	for {
		var m message
		if err := dec.Decode(&m); err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET) {
				err = errors.New("QEMU closed the connection")
			}
			c.fail(fmt.Errorf("QMP socket %s: %w", c.path, err))
			return
		}
		c.deliver(m)
	}
}

// deliver hands m to whoever waits for it. Answers with another id, or none,
// are to what a guard has sent on the same connection.
func (c *Client) deliver(m message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case m.Event != "":
		for s := range c.subscribers {
			s.push(m.event())
		}
	default:
		id, err := strconv.ParseUint(string(m.ID), 10, 64)
		if reply := c.pending[id]; err == nil && reply != nil {
			delete(c.pending, id)
			reply <- m
		}
	}
}
