package bank

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"
)

// Ports on which every member listens, on its own address.
const (
	ControlPort = "7071" // HTTP, for the auditor
	tcpPort     = "7072"
	udpPort     = "7073"
	pingPort    = "7074"
)

const (
	accounts       = 16
	initialBalance = 1000 // of each account
)

// Peer is a member's name and address.
type Peer struct{ Name, Address string }

// Config describes one member.
type Config struct {
	Name  string
	Peers []Peer // all members, this one included
	// Interval is from one transfer on a flow to the next; default 100 ms, which
	// emulated processors can bear and which bounds how short a gap shows.
	Interval time.Duration
	// Datagrams adds flows that nobody acknowledges.
	Datagrams bool
	// Idle members move no money.
	Idle bool
	// Log gets a line for each violation; nil for none.
	Log io.Writer
}

// Member is a running member.
type Member struct {
	cfg       Config
	address   string
	ctx       context.Context
	cancel    context.CancelFunc
	wg        sync.WaitGroup
	udp       *net.UDPConn
	datagrams *net.UDPConn
	acks      map[string]chan uint64 // by peer: acknowledged numbers on UDP
	bench     bench

	mu         sync.Mutex // guards what follows, one consistent state of the books
	balances   [accounts]uint64
	quiet      bool
	out, in    map[string]*Flow // by transport and peer
	violations []string
}

// Start opens the member's ports and begins to connect to its peers, which may
// start later. Call Close to end it.
func Start(cfg Config) (*Member, error) {
	i := slices.IndexFunc(cfg.Peers, func(p Peer) bool { return p.Name == cfg.Name })
	if i < 0 {
		return nil, fmt.Errorf("bank: member %q is not among its peers %v", cfg.Name, cfg.Peers)
	}
	if cfg.Interval == 0 {
		cfg.Interval = 100 * time.Millisecond
	}
	if cfg.Log == nil {
		cfg.Log = io.Discard
	}
	m := &Member{cfg: cfg, address: cfg.Peers[i].Address,
		acks: make(map[string]chan uint64), out: make(map[string]*Flow), in: make(map[string]*Flow)}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	for i := range m.balances {
		m.balances[i] = initialBalance
	}
	if !cfg.Idle {
		for _, p := range m.others() {
			m.acks[p.Name] = make(chan uint64, 1)
			for _, transport := range cfg.transports() {
				m.out[transport+" "+p.Name] = &Flow{Peer: p.Name, Transport: transport}
				m.in[transport+" "+p.Name] = &Flow{Peer: p.Name, Transport: transport}
			}
		}
	}
	if err := m.serve(); err != nil {
		m.Close()
		return nil, fmt.Errorf("bank: %w", err)
	}
	return m, nil
}

func (m *Member) serve() error {
	if err := m.serveControl(); err != nil {
		return err
	}
	if err := m.servePing(); err != nil {
		return err
	}
	if m.cfg.Idle {
		return nil
	}
	if m.cfg.Datagrams {
		if err := m.serveDatagrams(); err != nil {
			return err
		}
	}
	if err := m.serveTCP(); err != nil {
		return err
	}
	if err := m.serveUDP(); err != nil {
		return err
	}
	for _, p := range m.others() {
		m.wg.Go(func() { m.sendTCP(p) })
		m.wg.Go(func() { m.sendUDP(p) })
		if m.cfg.Datagrams {
			m.wg.Go(func() { m.sendDatagrams(p) })
		}
	}
	return nil
}

func (c Config) transports() []string {
	if c.Datagrams {
		return []string{"tcp", "udp", datagram}
	}
	return []string{"tcp", "udp"}
}

// Close ends the member and waits until nothing of it runs.
func (m *Member) Close() {
	m.cancel()
	m.wg.Wait()
}

func (m *Member) others() []Peer {
	return slices.DeleteFunc(slices.Clone(m.cfg.Peers), func(p Peer) bool { return p.Name == m.cfg.Name })
}

// begin takes money from an account for a transfer on a flow; ok is false
// while the member is quiet. A transfer of nothing is one too: it keeps the
// flow busy when an account is empty.
func (m *Member) begin(f *Flow, first bool) (t transfer, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.quiet {
		return transfer{}, false
	}
	t = transfer{Kind: kindTransfer, From: uint16(rand.IntN(accounts)), To: uint16(rand.IntN(accounts))}
	t.Amount = min(m.balances[t.From], 1+rand.Uint64N(100))
	if first {
		t.Flags |= flagFirst
	}
	m.balances[t.From] -= t.Amount
	return f.sent(t), true
}

// book credits a transfer that arrived, once. It reports whether the transfer
// may be acknowledged.
func (m *Member) book(f *Flow, t transfer) bool {
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	f.Connected = true
	fresh, err := f.received(t, now)
	if err == nil && fresh && int(t.To) >= accounts {
		err = fmt.Errorf("%s from %s: no account %d", f.Transport, f.Peer, t.To)
	}
	if err != nil {
		m.violate(err)
		return false
	}
	if fresh {
		m.balances[t.To] += t.Amount
	}
	return true
}

// maxViolations is enough to see what is wrong.
const maxViolations = 20

// violate notes what can not happen in a sound history. Callers hold mu.
func (m *Member) violate(err error) {
	fmt.Fprintf(m.cfg.Log, "bank: violation: %v\n", err)
	if len(m.violations) < maxViolations {
		m.violations = append(m.violations, err.Error())
	}
}

// broken notes the end of something that must not end, unless the member does.
func (m *Member) broken(what string, err error) {
	if m.ctx.Err() != nil {
		return
	}
	if errors.Is(err, io.EOF) {
		err = errors.New("closed by the peer")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.violate(fmt.Errorf("%s: %w", what, err))
}

func (m *Member) connected(f *Flow) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f.Connected = true
}

func (m *Member) isConnected(f *Flow) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return f.Connected
}

// closeAtEnd closes c when the member ends, which wakes whoever waits on it.
// Call the returned function when done with c.
func (m *Member) closeAtEnd(c io.Closer) (done func()) {
	stop := context.AfterFunc(m.ctx, func() { c.Close() })
	return func() { stop(); c.Close() }
}
