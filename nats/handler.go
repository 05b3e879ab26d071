package nats

import "sync"

// onlyWhile runs functions one at a time until it is stopped.
type onlyWhile struct {
	mu      sync.Mutex
	stopped bool
}

func (w *onlyWhile) do(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.stopped {
		f()
	}
}

// stop returns when no f is running; none will run afterwards.
func (w *onlyWhile) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
}
