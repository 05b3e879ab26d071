package bustest

import (
	"sync"

	"github.com/snapline/snapline"
)

// letter is one message and who sent it.
type letter struct {
	from snapline.Address
	msg  []byte
}

// mailbox queues messages and hands them to one handler, one after the other.
type mailbox struct {
	handle func(from snapline.Address, msg []byte)
	done   chan struct{} // closed when no handler runs any more

	mu     sync.Mutex
	wake   sync.Cond
	queue  []letter
	closed bool
}

func newMailbox(handle func(from snapline.Address, msg []byte)) *mailbox {
	m := &mailbox{handle: handle, done: make(chan struct{})}
	m.wake.L = &m.mu
	go m.run()
	return m
}

func (m *mailbox) run() {
	defer close(m.done)
	for {
		l, ok := m.next()
		if !ok {
			return
		}
		m.handle(l.from, l.msg)
	}
}

func (m *mailbox) next() (l letter, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.queue) == 0 && !m.closed {
		m.wake.Wait()
	}
	if m.closed {
		return letter{}, false
	}
	l, m.queue = m.queue[0], m.queue[1:]
	return l, true
}

func (m *mailbox) put(l letter) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.queue = append(m.queue, l)
	m.wake.Signal()
}

// close drops what is queued and waits for the handler to return.
func (m *mailbox) close() {
	m.mu.Lock()
	m.closed = true
	m.wake.Signal()
	m.mu.Unlock()
	<-m.done
}
