package cli

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestServiceManager plays systemd: it hears READY once the daemon is, then
// WATCHDOG as long as the daemon lives, and STOPPING at the end. What the
// daemon starts cannot speak for it.
func TestServiceManager(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	systemd, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	defer systemd.Close()
	hear := func() string {
		t.Helper()
		b := make([]byte, 100)
		if err := systemd.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		n, err := systemd.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "3000")
	m := newServiceManager(slog.New(slog.DiscardHandler))
	if m == nil || os.Getenv("NOTIFY_SOCKET") != "" {
		t.Fatal("the environment was not taken")
	}
	ctx, cancel := context.WithCancel(t.Context())
	ready, done := make(chan struct{}), make(chan struct{})
	asked, enough := 0, make(chan struct{})
	go func() {
		m.follow(ctx, ready, func() bool {
			if asked++; asked == 10 {
				close(enough)
			}
			return asked < 4
		})
		close(done)
	}()
	if err := systemd.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, _ := systemd.Read(make([]byte, 10)); n > 0 {
		t.Error("it was not ready yet")
	}
	close(ready)
	for i, want := range []string{"READY=1", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1"} {
		if got := hear(); got != want {
			t.Fatalf("message %d: %q, want %q", i, got, want)
		}
	}
	<-enough // alive says no, and nothing is sent
	cancel()
	if got := hear(); got != "STOPPING=1" {
		t.Errorf("at the end: %q", got)
	}
	<-done
}

func TestNoServiceManager(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	m := newServiceManager(slog.New(slog.DiscardHandler))
	m.follow(t.Context(), nil, nil) // returns at once
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "nobody"))
	if m := newServiceManager(slog.New(slog.DiscardHandler)); m != nil {
		t.Error("nobody is there")
	}
}

// TestEndsBySignal: what a watchdog does to a service that hangs looks like no exit
// status of ours, or the unit would not start it again.
func TestEndsBySignal(t *testing.T) {
	if os.Getenv("NOTIFY_SOCKET") != "" {
		_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
		newServiceManager(slog.New(slog.DiscardHandler))
		_ = unix.Kill(os.Getpid(), unix.SIGABRT)
		select {}
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestEndsBySignal$")
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+filepath.Join(t.TempDir(), "nobody"))
	out, err := cmd.CombinedOutput()
	if status := cmd.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != unix.SIGABRT {
		t.Errorf("it ended with %v, want SIGABRT\n%s", err, out)
	}
	if !bytes.Contains(out, []byte("goroutine ")) {
		t.Errorf("it does not say where it was: %s", out)
	}
}
