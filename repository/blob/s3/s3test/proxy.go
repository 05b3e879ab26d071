package s3test

import (
	"io"
	"net"
	"sync"
	"testing"
)

// Proxy is a TCP proxy in front of a server that breaks connections.
type Proxy struct {
	Endpoint string // http://127.0.0.1:PORT

	target   string
	listener net.Listener
	wg       sync.WaitGroup

	mu     sync.Mutex
	conns  map[*net.TCPConn]bool
	up     int64 // bytes that one connection may carry; -1: all
	down   int64
	breaks int
	away   bool
	closed bool
}

// Proxy puts one before the server until the end of the test. It breaks nothing
// at first.
func (s *Server) Proxy(t testing.TB) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Endpoint: "http://" + l.Addr().String(), target: s.address, listener: l, conns: map[*net.TCPConn]bool{}, up: -1, down: -1}
	p.wg.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

// BreakUpload resets each connection once n bytes have gone up through it;
// below zero ends that.
func (p *Proxy) BreakUpload(n int64) { p.set(&p.up, n) }

// BreakDownload does the same for what comes down.
func (p *Proxy) BreakDownload(n int64) { p.set(&p.down, n) }

func (p *Proxy) set(which *int64, n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	*which = n
}

// Breaks is how many connections have been broken.
func (p *Proxy) Breaks() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.breaks
}

// Away resets all connections, and refuses new ones until it is called with
// false.
func (p *Proxy) Away(away bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.away = away
	if away {
		p.resetAll()
	}
}

// resetAll is called with the lock held.
func (p *Proxy) resetAll() {
	for c := range p.conns {
		reset(c)
	}
}

// reset closes with RST: the peer gets an error, not an end.
func reset(c *net.TCPConn) {
	_ = c.SetLinger(0) // of a connection that is closed already
	_ = c.Close()
}

func (p *Proxy) close() {
	_ = p.listener.Close()
	p.mu.Lock()
	p.closed = true
	p.resetAll()
	p.mu.Unlock()
	p.wg.Wait()
}

func (p *Proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return // closed
		}
		client := c.(*net.TCPConn)
		s, err := net.Dial("tcp", p.target)
		if err != nil {
			reset(client)
			continue
		}
		p.join(client, s.(*net.TCPConn))
	}
}

func (p *Proxy) join(client, server *net.TCPConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.away || p.closed {
		reset(client)
		reset(server)
		return
	}
	p.conns[client], p.conns[server] = true, true
	p.wg.Go(func() {
		var up sync.WaitGroup
		up.Go(func() { p.copy(server, client, &p.up) })
		p.copy(client, server, &p.down)
		up.Wait()
		p.drop(client, server)
	})
}

// copy moves bytes one way until that way ends, the connection breaks, or its
// bytes are used up.
func (p *Proxy) copy(to, from *net.TCPConn, limit *int64) {
	buf := make([]byte, 16<<10)
	var moved int64
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if _, werr := to.Write(buf[:n]); werr != nil {
				err = werr
			}
		}
		if moved += int64(n); p.due(limit, moved) {
			break
		}
		if err == io.EOF {
			_ = to.CloseWrite() // fails when the other side is gone already
			return
		}
		if err != nil {
			break
		}
	}
	p.drop(to, from)
}

// due counts a break when so many bytes are enough.
func (p *Proxy) due(limit *int64, moved int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if *limit < 0 || moved < *limit {
		return false
	}
	p.breaks++
	return true
}

func (p *Proxy) drop(conns ...*net.TCPConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		delete(p.conns, c)
		reset(c)
	}
}
