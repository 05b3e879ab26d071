package nats

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
)

// serverLog is the embedded server's logger: it passes warnings and errors on,
// drops the chatter, and keeps what the server calls fatal. The server's own
// loggers end the process there; StartServer returns an error.
type serverLog struct {
	to *slog.Logger

	mu    sync.Mutex
	fatal error
}

func (l *serverLog) Noticef(string, ...any) {}
func (l *serverLog) Debugf(string, ...any)  {}
func (l *serverLog) Tracef(string, ...any)  {}

func (l *serverLog) Warnf(format string, v ...any) {
	if strings.HasPrefix(format, "Clients that are not using") {
		return // ours do speak TLS from the first byte on
	}
	l.to.Warn("message bus: " + fmt.Sprintf(format, v...))
}

func (l *serverLog) Errorf(format string, v ...any) {
	l.to.Error("message bus: " + fmt.Sprintf(format, v...))
}

// Fatalf keeps the first fatal error. The server passes its cause as one of the
// values, which makes it possible to tell what it was.
func (l *serverLog) Fatalf(format string, v ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fatal != nil {
		return
	}
	for _, x := range v {
		if cause, ok := x.(error); ok {
			l.fatal = cause
			return
		}
	}
	l.fatal = errors.New(fmt.Sprintf(format, v...))
}

// failure returns what stopped the server from starting, if anything.
func (l *serverLog) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fatal
}
