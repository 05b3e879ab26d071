package tcpsim

import (
	"bytes"
	"fmt"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"

	"github.com/snapline/snapline/protocol/sim"
)

// group is the guests of one history.
type group struct {
	site    sim.Site
	members []*member
	send    func(from, to int, frame []byte)
	loads   int64
	faults  []string
}

// New makes the guests of a history; it is what sim.Options.Guests wants.
func New(site sim.Site) sim.Guests { return &group{site: site} }

// seed gives every life of every member other random numbers.
func (g *group) seed(member int) int64 {
	g.loads++
	return int64(g.site.Seed)<<20 + g.loads<<8 + int64(member)
}

// Boot implements sim.Guests. Each member has a connection to each other one,
// established before the history begins.
func (g *group) Boot() []sim.Guest {
	type sent struct {
		to    int
		frame []byte
	}
	var wire []sent
	g.send = func(_, to int, frame []byte) { wire = append(wire, sent{to, frame}) }
	for i := range g.site.Members() {
		c := &clock{site: g.site, running: true}
		m := newMember(g, i, c, g.seed(i))
		c.settle = m.settle
		m.conns = make([]*conn, g.site.Members())
		g.members = append(g.members, m)
	}
	carry := func() {
		for len(wire) > 0 {
			s := wire[0]
			wire = wire[1:]
			g.members[s.to].link.receive(s.frame)
			g.members[s.to].settle()
		}
	}
	for j, server := range g.members {
		for i, client := range g.members[:j] {
			open(client, server, carry)
			client.conns[j].endpoint.SocketOptions().SetDelayOption(false)
			server.conns[i].endpoint.SocketOptions().SetDelayOption(false)
		}
	}
	g.send = g.site.Send
	guests := make([]sim.Guest, len(g.members))
	for i, m := range g.members {
		guests[i] = m
	}
	return guests
}

// open opens a connection between two members.
func open(client, server *member, carry func()) {
	to := tcpip.FullAddress{Addr: address(server.number), Port: uint16(4000 + client.number)}
	listener := endpoint(server, &waiter.Queue{})
	must(listener.Bind(to))
	must(listener.Listen(1))
	c := &conn{peer: server.number, queue: &waiter.Queue{}}
	c.endpoint = endpoint(client, c.queue)
	if err := c.endpoint.Connect(to); err != nil {
		if _, ok := err.(*tcpip.ErrConnectStarted); !ok {
			must(err)
		}
	}
	carry()
	e, q, err := listener.Accept(nil)
	must(err)
	listener.Close()
	client.conns[server.number] = c
	server.conns[client.number] = &conn{peer: client.number, endpoint: e, queue: q}
}

func endpoint(m *member, q *waiter.Queue) tcpip.Endpoint {
	e, err := m.stack.NewEndpoint(tcp.ProtocolNumber, ipv4.ProtocolNumber, q)
	must(err)
	return e
}

// Load implements sim.Guests.
func (g *group) Load(member int, state any) sim.Guest {
	g.members[member] = load(g, member, state.(saved), g.seed(member))
	return g.members[member]
}

// Judge implements sim.Guests: what each member has got is what its peer has
// written, from the first byte on; and all of it, once the network is quiet.
func (g *group) Judge(quiet bool) []string {
	for i, m := range g.members {
		m.read()
		for _, c := range m.conns {
			if c == nil {
				continue
			}
			g.compare(i, c, len(c.got))
			if wrote := g.members[c.peer].conns[i].wrote; quiet && len(c.got) < len(wrote) {
				g.fault("lost: n%d got %d bytes of the %d that n%d wrote", i+1, len(c.got), len(wrote), c.peer+1)
			}
		}
	}
	faults := g.faults
	g.faults = nil
	return faults
}

// compare looks at the last bytes that a member has got.
func (g *group) compare(member int, c *conn, last int) {
	wrote := g.members[c.peer].conns[member].wrote
	from := len(c.got) - last
	switch {
	case len(c.got) > len(wrote):
		g.fault("corrupt: n%d got %d bytes of the %d that n%d wrote", member+1, len(c.got), len(wrote), c.peer+1)
	case !bytes.Equal(c.got[from:], wrote[from:len(c.got)]):
		g.fault("corrupt: of the bytes %d to %d that n%d got, some are not what n%d wrote", from, len(c.got), member+1, c.peer+1)
	}
}

func (g *group) fault(format string, args ...any) {
	if len(g.faults) < 20 { // the first ones say it all
		g.faults = append(g.faults, fmt.Sprintf(format, args...))
	}
}
