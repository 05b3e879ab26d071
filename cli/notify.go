package cli

import (
	"context"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"strconv"
	"time"
)

// serviceManager is who started this process as a service and wants to hear of it
// (sd_notify(3)); nil for nobody.
type serviceManager struct {
	conn net.Conn
	// every is how often it wants to hear that we live; 0: never.
	every time.Duration
}

// newServiceManager reads the environment, and takes out of it what children
// must not have.
func newServiceManager(log *slog.Logger) *serviceManager {
	path := os.Getenv("NOTIFY_SOCKET")
	usec, _ := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	for _, name := range []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} {
		os.Unsetenv(name)
	}
	if path == "" {
		return nil
	}
	// A watchdog's SIGABRT, and a panic, end this process by a signal. With Go's own
	// exit status, which is 2, it would look like a command line that makes no sense,
	// and not be started again.
	debug.SetTraceback("crash")
	conn, err := net.Dial("unixgram", path) // @ begins an abstract name, for both
	if err != nil {
		log.Warn("cannot tell the service manager anything", "error", err)
		return nil
	}
	return &serviceManager{conn, time.Duration(usec) * time.Microsecond / 3}
}

func (m *serviceManager) say(state string) {
	_, _ = m.conn.Write([]byte(state)) // if nobody reads, we are ended, which is right
}

// follow tells that the service is ready, then that it lives, as long as alive
// says so, then that it ends with ctx. An alive that does not return is as good
// as one that says no.
func (m *serviceManager) follow(ctx context.Context, ready <-chan struct{}, alive func() bool) {
	if m == nil {
		return
	}
	defer m.conn.Close()
	defer m.say("STOPPING=1")
	select {
	case <-ready:
		m.say("READY=1")
	case <-ctx.Done():
		return
	}
	if m.every <= 0 {
		<-ctx.Done()
		return
	}
	tick := time.NewTicker(m.every)
	defer tick.Stop()
	for {
		if alive() {
			m.say("WATCHDOG=1")
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
