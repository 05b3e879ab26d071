package tcpsim

import (
	"bytes"
	"context"
	"fmt"
	"math/rand"
	"time"

	"gvisor.dev/gvisor/pkg/state"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"

	"github.com/snapline/snapline/protocol/sim"
)

// member is one guest: a TCP/IP stack, and an application that has a connection
// to each other member and writes and reads on all of them.
type member struct {
	group  *group
	number int
	clock  *clock
	link   *link
	stack  *stack.Stack
	conns  []*conn // by the peer's number; nil for itself
	random *rand.Rand

	talking bool
	nudge   bool // loaded, and not run since
	stopped bool
}

var _ sim.Guest = (*member)(nil)

func address(member int) tcpip.Address { return tcpip.AddrFrom4([4]byte{10, 0, 0, byte(member + 1)}) }

// newMember returns a guest with a stack that has no connections.
func newMember(g *group, number int, c *clock, seed int64) *member {
	m := &member{group: g, number: number, clock: c, random: rand.New(rand.NewSource(seed))}
	m.link = &link{send: m.send}
	m.stack = stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol},
		Clock:              c,
		RandSource:         rand.NewSource(seed),
		SecureRNG:          rand.New(rand.NewSource(^seed)),
	})
	m.stack.EnableSaveRestore()
	// Writing never blocks, for a write is also what sets a loaded connection's
	// timers; reading does, so that windows close.
	must(m.stack.SetTransportProtocolOption(tcp.ProtocolNumber, &tcpip.TCPSendBufferSizeRangeOption{Min: 1 << 22, Default: 1 << 22, Max: 1 << 22}))
	must(m.stack.SetTransportProtocolOption(tcp.ProtocolNumber, &tcpip.TCPReceiveBufferSizeRangeOption{Min: 1 << 14, Default: 1 << 16, Max: 1 << 16}))
	must(m.stack.CreateNIC(1, m.link))
	must(m.stack.AddProtocolAddress(1, tcpip.ProtocolAddress{Protocol: ipv4.ProtocolNumber, AddressWithPrefix: address(number).WithPrefix()}, stack.AddressProperties{}))
	m.stack.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: 1}})
	return m
}

func must(err tcpip.Error) {
	if err != nil {
		panic(fmt.Sprintf("tcpsim: %v", err))
	}
}

// settle waits until the stack's workers have nothing more to do.
func (m *member) settle() {
	m.stack.Pause()
	m.stack.Resume()
}

func (m *member) send(frame []byte) {
	if m.stopped {
		return // its connections are being torn down
	}
	to := header.IPv4(frame[header.EthernetMinimumSize:]).DestinationAddress().As4()
	m.group.send(m.number, int(to[3])-1, frame)
}

// Receive implements sim.Guest. An application that is slow to read lets its
// window close.
func (m *member) Receive(frame []byte) {
	m.link.receive(frame)
	m.settle()
	if m.random.Intn(4) > 0 {
		m.read()
	}
}

// Pause implements sim.Guest.
func (m *member) Pause() { m.clock.pause() }

// Resume implements sim.Guest.
func (m *member) Resume() {
	m.clock.resume()
	if !m.nudge {
		return
	}
	// A real machine's memory holds its kernel's timers. gVisor does not save
	// those of TCP: they are set again when a connection is written to.
	m.nudge = false
	for _, c := range m.conns {
		if c != nil {
			m.write(c, 1)
		}
	}
	m.Talk()
}

// Talk implements sim.Guest.
func (m *member) Talk() {
	if !m.talking {
		m.talking = true
		m.clock.AfterFunc(m.breath(), m.talk)
	}
}

// breath is how long the application waits before it writes more: seldom long
// while a cut may be under way.
func (m *member) breath() time.Duration {
	longest := 400 * time.Millisecond
	if m.group.site.Hot() {
		longest = 8 * time.Millisecond
	}
	return time.Duration(m.random.Int63n(int64(longest >> m.random.Intn(6))))
}

func (m *member) talk() {
	m.read()
	if m.talking = m.group.site.Talk(); !m.talking {
		return
	}
	peer := m.random.Intn(len(m.conns) - 1)
	if peer >= m.number {
		peer++
	}
	m.write(m.conns[peer], 1+m.random.Intn(1<<(1+m.random.Intn(12))))
	m.clock.AfterFunc(m.breath(), m.talk)
}

// write writes some bytes that nobody can foresee.
func (m *member) write(c *conn, n int) {
	b := make([]byte, n)
	m.random.Read(b)
	wrote, err := c.endpoint.Write(bytes.NewReader(b), tcpip.WriteOptions{})
	if err != nil {
		m.group.fault("n%d cannot write to n%d: %v", m.number+1, c.peer+1, err)
		return
	}
	c.wrote = append(c.wrote, b[:wrote]...)
}

// read reads what there is.
func (m *member) read() {
	for _, c := range m.conns {
		if c == nil {
			continue
		}
		var b bytes.Buffer
		for {
			if _, err := c.endpoint.Read(&b, tcpip.ReadOptions{}); err != nil {
				if _, ok := err.(*tcpip.ErrWouldBlock); !ok {
					m.group.fault("n%d cannot read from n%d: %v", m.number+1, c.peer+1, err)
				}
				break
			}
		}
		if b.Len() > 0 {
			c.got = append(c.got, b.Bytes()...)
			m.group.compare(m.number, c, b.Len())
		}
	}
}

// Stop implements sim.Guest.
func (m *member) Stop() {
	m.stopped = true
	m.clock.running = false
	m.stack.Close()
	m.stack.Wait()
}

// saved is a guest's whole state. Nothing writes to the slices' elements.
type saved struct {
	image      []byte // of the stack
	wrote, got [][]byte
}

// Save implements sim.Guest.
func (m *member) Save() any {
	s := saved{wrote: make([][]byte, len(m.conns)), got: make([][]byte, len(m.conns))}
	i := image{stack: m.stack}
	for n, c := range m.conns {
		if c != nil {
			i.endpoints, i.queues = append(i.endpoints, c.endpoint), append(i.queues, c.queue)
			s.wrote[n], s.got[n] = c.wrote[:len(c.wrote):len(c.wrote)], c.got[:len(c.got):len(c.got)]
		}
	}
	var b bytes.Buffer
	m.stack.Pause()
	if _, err := state.Save(context.Background(), &b, &i); err != nil {
		panic(fmt.Sprintf("tcpsim: %v", err))
	}
	m.stack.Resume()
	s.image = b.Bytes()
	return s
}

// load returns a guest, paused, that is in a saved state. It will not write what
// the saved one wrote next.
func load(g *group, number int, s saved, seed int64) *member {
	var i image
	ctx := context.WithValue(context.Background(), siteKey{}, g.site)
	if _, err := state.Load(ctx, bytes.NewReader(s.image), &i); err != nil {
		panic(fmt.Sprintf("tcpsim: %v", err))
	}
	c := i.stack.Clock().(*clock)
	m := newMember(g, number, c, seed)
	fresh := m.stack
	m.stack, m.nudge = i.stack, true
	c.settle = m.settle
	m.stack.ReplaceConfig(fresh) // the network card, which is a new one
	m.stack.Restore()
	fresh.Close()
	m.conns = make([]*conn, len(s.wrote))
	for n, at := 0, 0; n < len(m.conns); n++ {
		if n != number {
			m.conns[n] = &conn{peer: n, endpoint: i.endpoints[at], queue: i.queues[at], wrote: s.wrote[n], got: s.got[n]}
			at++
		}
	}
	return m
}
