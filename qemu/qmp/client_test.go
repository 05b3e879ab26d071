package qmp

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const greeting = `{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": ""}, "capabilities": ["oob"]}}`

// serve plays QEMU's side of a transcript: lines that begin with "<" are sent,
// those with ">" are what the client must send. It ends the connection after
// the last line.
func serve(t *testing.T, transcript string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "qmp")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		if err := play(conn, transcript); err != nil {
			t.Error(err)
		}
	}()
	return path
}

func play(conn net.Conn, transcript string) error {
	in := bufio.NewReader(conn)
	for line := range strings.Lines(transcript) {
		direction, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch direction {
		case "<":
			if _, err := io.WriteString(conn, text+"\r\n"); err != nil {
				return fmt.Errorf("send %s: %w", text, err)
			}
		case ">":
			got, err := in.ReadString('\n')
			if err != nil || strings.TrimSpace(got) != text {
				return fmt.Errorf("client sent %q, %v, want %s", got, err, text)
			}
		case "hang":
			in.ReadByte() // until the client goes
		}
	}
	return nil
}

const negotiation = "< " + greeting + `
> {"execute":"qmp_capabilities","arguments":{"enable":["oob"]},"id":1}
< {"return": {}, "id": 1}
`

func dialed(t *testing.T, transcript string) *Client {
	t.Helper()
	c, err := Dial(t.Context(), serve(t, negotiation+transcript))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// TestDialAfterDeath connects where another client has just died, for whom QEMU
// still had something to say.
func TestDialAfterDeath(t *testing.T) {
	c, err := Dial(t.Context(), serve(t, `
< 000}, "event": "STOP"}
< {"return": {}, "id": 7}
< {"timestamp": {"seconds": 1700000000, "microseconds": 0}, "event": "RESUME"}
`+negotiation+`
> {"execute":"query-status","id":2}
< {"return": {"status": "running", "running": true}, "id": 2}
hang
`))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if st, err := Run(t.Context(), c, QueryStatus{}); err != nil || !st.Running {
		t.Errorf("%+v %v", st, err)
	}
}

func TestRun(t *testing.T) {
	c := dialed(t, `
> {"execute":"query-status","id":2}
< {"timestamp": {"seconds": 1700000000, "microseconds": 250000}, "event": "STOP"}
< {"return": {"status": "running", "running": true}, "id": 2}
> {"execute":"getfd","arguments":{"fdname":"x"},"id":3}
< {"error": {"class": "GenericError", "desc": "No file descriptor supplied via SCM_RIGHTS"}, "id": 3}
> {"exec-oob":"query-status","id":4}
< {"error": {"class": "GenericError", "desc": "The command query-status does not support OOB"}, "id": 4}
hang
`)
	events := c.Subscribe()
	defer events.Close()
	st, err := Run(t.Context(), c, QueryStatus{})
	if err != nil || !st.Running || c.Version() != (Version{7, 2, 22}) {
		t.Errorf("%+v %v %v", st, err, c.Version())
	}
	ev, err := events.Next(t.Context())
	if err != nil || ev.Name != "STOP" || !ev.At.Equal(time.Unix(1700000000, 250000000)) {
		t.Errorf("%+v %v", ev, err)
	}
	_, err = Run(t.Context(), c, GetFD{Name: "x"})
	var refusal *Error
	if !errors.As(err, &refusal) || refusal.Class != "GenericError" || err.Error() != "getfd: No file descriptor supplied via SCM_RIGHTS" || !IsRefused(err) {
		t.Errorf("%v", err)
	}
	if _, err := RunOOB(t.Context(), c, QueryStatus{}); !IsRefused(err) {
		t.Errorf("%v", err)
	}
}

// TestAnswersOutOfOrder matches answers by id; those to others are skipped.
func TestAnswersOutOfOrder(t *testing.T) {
	c := dialed(t, `
> {"execute":"stop","id":2}
< {"event": "HEARD"}
> {"execute":"cont","id":3}
< {"error": {"class": "GenericError", "desc": "JSON parse error"}}
< {"return": {}, "id": "guard"}
< {"return": {}, "id": 99}
< {"error": {"class": "GenericError", "desc": "of cont"}, "id": 3}
< {"return": {}, "id": 2}
hang
`)
	events := c.Subscribe()
	defer events.Close()
	first := make(chan error, 1)
	go func() { _, err := Run(t.Context(), c, Stop{}); first <- err }()
	if _, err := events.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(t.Context(), c, Cont{}); err == nil || err.Error() != "cont: of cont" {
		t.Errorf("%v", err)
	}
	if err := <-first; err != nil {
		t.Error(err)
	}
}

func TestConnectionDies(t *testing.T) {
	c := dialed(t, `
> {"execute":"query-status","id":2}
< {"event": "SHUTDOWN", "timestamp": {"seconds": -1, "microseconds": -1}}
`)
	events := c.Subscribe()
	defer events.Close()
	if _, err := Run(t.Context(), c, QueryStatus{}); err == nil || IsRefused(err) || !strings.Contains(err.Error(), "closed the connection") {
		t.Errorf("%v", err)
	}
	<-c.Done()
	if ev, err := events.Next(t.Context()); err != nil || ev.Name != "SHUTDOWN" || !ev.At.IsZero() {
		t.Errorf("event before the death: %+v %v", ev, err)
	}
	if _, err := events.Next(t.Context()); err == nil {
		t.Error("event after the death")
	}
	if _, err := Run(t.Context(), c, Stop{}); err == nil {
		t.Error("command after the death")
	}
}

func TestContextEnds(t *testing.T) {
	c := dialed(t, `
> {"execute":"stop","id":2}
hang
`)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := Run(ctx, c, Stop{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	if c.Err() != nil {
		t.Errorf("the connection suffered: %v", c.Err())
	}
}

func TestDialRefuses(t *testing.T) {
	for name, c := range map[string]struct{ transcript, want string }{
		"busy":        {"hang", "is in use by another client; give Snapline a -qmp socket of its own"},
		"closed":      {"", "closed without a greeting"},
		"human":       {"< QEMU 7.2.22 monitor - type 'help' for more information", "not a QEMU machine protocol monitor"},
		"guest agent": {`< {"return": {}}`, "not a QEMU machine protocol monitor"},
		"no version":  {`< {"QMP": {}}`, "not a QEMU machine protocol monitor"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := Dial(t.Context(), serve(t, c.transcript)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// TestRunWithFD passes a pipe's end and writes through the duplicate.
func TestRunWithFD(t *testing.T) {
	ours, theirs := socketPair(t)
	served := make(chan error, 1)
	go func() { served <- serveFD(theirs) }()
	c, err := New(t.Context(), ours, "pair")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := RunWithFD(t.Context(), c, GetFD{Name: "x"}, int(w.Fd())); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if err := <-served; err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(r); err != nil || string(b) != "through" {
		t.Errorf("%q %v", b, err)
	}
}

func serveFD(conn *net.UnixConn) error {
	defer conn.Close()
	if err := play(conn, negotiation); err != nil {
		return err
	}
	buf, oob := make([]byte, 200), make([]byte, 200)
	_, n, _, _, err := conn.ReadMsgUnix(buf, oob)
	if err != nil {
		return err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(messages) != 1 {
		return fmt.Errorf("%d control messages, %v", len(messages), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fds[0]), "passed")
	defer f.Close()
	if _, err := f.WriteString("through"); err != nil {
		return err
	}
	_, err = io.WriteString(conn, `{"return": {}, "id": 2}`)
	return err
}

func socketPair(t testing.TB) (ours, theirs *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var conns [2]*net.UnixConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "pair")
		c, err := net.FileConn(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		conns[i] = c.(*net.UnixConn)
		t.Cleanup(func() { c.Close() })
	}
	return conns[0], conns[1]
}

// TestTakeOver goes on where a process died in the middle of both directions.
func TestTakeOver(t *testing.T) {
	ours, theirs := socketPair(t)
	served := make(chan error, 1)
	go func() {
		io.WriteString(theirs, `ble": true}, "id": 7}`+"\r\n"+`{"return": {}, "id": 8}`+"\r\n")
		served <- play(theirs, "> \xff\n"+`
< {"error": {"class": "GenericError", "desc": "JSON parse error, stray '\\xFF'"}}
> {"execute":"cont","id":1099511627777}
< {"return": {}, "id": 1099511627777}
`)
	}()
	c, err := TakeOver(ours)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := Run(t.Context(), c, Cont{}); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// FuzzServer sends anything at all: the client must end in an error or carry
// on, and never hang or panic.
func FuzzServer(f *testing.F) {
	f.Add([]byte(`{"return": {}, "id": 1}` + "\r\n" + `{"event": "STOP", "timestamp": {"seconds": 1}}`))
	f.Add([]byte(`{"error": {"class": "X", "desc": "y"}, "id": 1}`))
	f.Add([]byte(`{"return": {}, "id": "1"} {"event": 3}`))
	f.Add([]byte("\xff\x00{[[["))
	f.Fuzz(func(t *testing.T, b []byte) {
		ours, theirs := socketPair(t)
		go func() {
			theirs.Write([]byte(greeting))
			theirs.Write(b)
			theirs.CloseWrite()
		}()
		c, err := New(t.Context(), ours, "pair")
		if err != nil {
			return
		}
		events := c.Subscribe()
		for err == nil {
			_, err = events.Next(t.Context())
		}
		c.Close()
	})
}

// FuzzMessage decodes one message.
func FuzzMessage(f *testing.F) {
	f.Add([]byte(greeting))
	f.Add([]byte(`{"event": "MIGRATION", "data": {"status": "active"}, "timestamp": {"seconds": 1, "microseconds": 2}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var m message
		if json.Unmarshal(b, &m) != nil {
			return
		}
		m.event()
		if m.Greeting != nil {
			m.offersOOB()
		}
	})
}
