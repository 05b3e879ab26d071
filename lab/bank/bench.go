package bank

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// BenchState is how pinging and writing go, on the member's clock.
type BenchState struct {
	// Pings counts replies since the start, LongestGapMS is the longest time
	// between two of them since ResetGaps, the running one included.
	Pings        uint64  `json:"pings"`
	LongestGapMS float64 `json:"longest_gap_ms"`
	// PingError is set when the one connection broke: it is not opened again.
	PingError string `json:"ping_error,omitempty"`
	// PagesWritten counts since the memory was filled, WritingMS is how long
	// that is ago; a rate is the difference of two states.
	PagesWritten uint64  `json:"pages_written"`
	WritingMS    float64 `json:"writing_ms"`
}

type bench struct {
	mu        sync.Mutex
	state     BenchState
	pinging   bool
	lastReply time.Time
	writing   bool
	started   time.Time
}

func (b *bench) read() BenchState {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.state
	if b.pinging && s.PingError == "" && !b.lastReply.IsZero() {
		s.LongestGapMS = max(s.LongestGapMS, float64(time.Since(b.lastReply))/float64(time.Millisecond))
	}
	if !b.started.IsZero() {
		s.WritingMS = float64(time.Since(b.started)) / float64(time.Millisecond)
	}
	return s
}

func (b *bench) reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.state.LongestGapMS = 0
}

func (m *Member) servePing() error {
	l, err := net.Listen("tcp", net.JoinHostPort(m.address, pingPort))
	if err != nil {
		return err
	}
	done := m.closeAtEnd(l)
	m.wg.Go(func() {
		defer done()
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			m.wg.Go(func() { m.echo(c) })
		}
	})
	return nil
}

func (m *Member) echo(c net.Conn) {
	defer m.closeAtEnd(c)()
	for b := make([]byte, 64); ; {
		n, err := c.Read(b)
		if err == nil {
			_, err = c.Write(b[:n])
		}
		if err != nil {
			return
		}
	}
}

// StartPing begins to send a byte to a peer, wait for it to come back, and so
// on for ever, over one TCP connection.
func (m *Member) StartPing(peer string) error {
	for _, p := range m.others() {
		if p.Name == peer {
			m.bench.mu.Lock()
			defer m.bench.mu.Unlock()
			if m.bench.pinging {
				return fmt.Errorf("%s pings already", m.cfg.Name)
			}
			m.bench.pinging = true
			m.wg.Go(func() { m.ping(p) })
			return nil
		}
	}
	return fmt.Errorf("%s has no peer %q", m.cfg.Name, peer)
}

func (m *Member) ping(p Peer) {
	c, err := m.dial(net.JoinHostPort(p.Address, pingPort))
	if err != nil {
		return
	}
	defer m.closeAtEnd(c)()
	for b := []byte{1}; ; {
		_, err := c.Write(b)
		if err == nil {
			_, err = c.Read(b)
		}
		m.bench.replied(err)
		if err != nil {
			return
		}
	}
}

func (b *bench) replied(err error) {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		b.state.PingError = err.Error()
		return
	}
	if !b.lastReply.IsZero() {
		b.state.LongestGapMS = max(b.state.LongestGapMS, float64(now.Sub(b.lastReply))/float64(time.Millisecond))
	}
	b.lastReply = now
	b.state.Pings++
}

// StartWriter fills mib MiB of memory and then writes to random pages of it,
// for ever and as fast as it goes.
func (m *Member) StartWriter(mib int) error {
	if mib < 1 || mib > 1<<20 {
		return fmt.Errorf("%d MiB: write over 1 MiB to 1 TiB", mib)
	}
	b := &m.bench
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.writing {
		return fmt.Errorf("%s writes already", m.cfg.Name)
	}
	// Outside the Go heap, whose collector would add pauses of its own.
	mem, err := unix.Mmap(-1, 0, mib<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return fmt.Errorf("take %d MiB: %w", mib, err)
	}
	b.writing = true
	m.wg.Go(func() {
		defer unix.Munmap(mem)
		write(m.ctx, b, mem)
	})
	return nil
}

// write fills the memory with what cannot be compressed, and then changes a
// few bytes of one random page after another.
func write(ctx context.Context, b *bench, mem []byte) {
	size := os.Getpagesize()
	pages := uint64(len(mem) / size)
	x := uint64(88172645463325252)
	for i := 0; i+8 <= len(mem) && ctx.Err() == nil; i += 8 {
		x = xorshift(x)
		binary.NativeEndian.PutUint64(mem[i:], x)
	}
	b.mu.Lock()
	b.started = time.Now()
	b.mu.Unlock()
	const batch = 256
	for ctx.Err() == nil {
		for range batch {
			x = xorshift(x)
			page := mem[(x%pages)*uint64(size):][:size]
			for i := range 8 {
				page[i*512] = byte(x >> (8 * i))
			}
		}
		b.mu.Lock()
		b.state.PagesWritten += batch
		b.mu.Unlock()
	}
}

// xorshift is the next of Marsaglia's xorshift64 numbers (2003): cheap under
// emulation, and every number but zero comes once.
func xorshift(x uint64) uint64 {
	x ^= x << 13
	x ^= x >> 7
	return x ^ x<<17
}
