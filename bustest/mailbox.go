package bustest

import "sync"

// mailbox queues messages and hands them to one handler, one after the other.
type mailbox struct {
	handle func(msg []byte)
	done   chan struct{} // closed when no handler runs any more

	mu     sync.Mutex
	wake   sync.Cond
	queue  [][]byte
	closed bool
}

func newMailbox(handle func(msg []byte)) *mailbox {
	m := &mailbox{handle: handle, done: make(chan struct{})}
	m.wake.L = &m.mu
	go m.run()
	return m
}

func (m *mailbox) run() {
	defer close(m.done)
	for {
		msg, ok := m.next()
		if !ok {
			return
		}
		m.handle(msg)
	}
}

func (m *mailbox) next() (msg []byte, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.queue) == 0 && !m.closed {
		m.wake.Wait()
	}
	if m.closed {
		return nil, false
	}
	msg, m.queue = m.queue[0], m.queue[1:]
	return msg, true
}

func (m *mailbox) put(msg []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.queue = append(m.queue, msg)
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
