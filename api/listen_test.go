package api_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/api"
)

func TestListenUnix(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.sock")
	l, err := api.Listen("unix://" + path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o600 {
		t.Errorf("mode %o, want 600", got)
	}
	if _, err := api.Listen("unix://" + path); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("second listener: %v", err)
	}
	// A server that died leaves its file.
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	l, err = api.Listen("unix://" + path)
	if err != nil {
		t.Fatalf("over a stale socket: %v", err)
	}
	l.Close()
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file stayed after Close: %v", err)
	}
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := api.Listen("unix://" + path); err == nil || !strings.Contains(err.Error(), "not a socket") {
		t.Errorf("over a file: %v", err)
	}
	if b, _ := os.ReadFile(path); string(b) != "precious" {
		t.Errorf("the file was touched: %q", b)
	}
}

func TestListenTCPTwice(t *testing.T) {
	l, err := api.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := api.Listen(l.Addr().String()); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("second listener: %v", err)
	}
}

func TestAddresses(t *testing.T) {
	for _, bad := range []string{"", "x", "unix://rel/ative", "http://", "http://h", "ftp://h:1", "http://u@h:1", "http://h:1/path", "h:", "http://h:1?q"} {
		if _, err := api.NewClient(bad); err == nil {
			t.Errorf("NewClient(%q) took it", bad)
		} else if e := api.AsError(err); e.Code != snapline.CodeInvalid {
			t.Errorf("NewClient(%q): code %s", bad, e.Code)
		}
	}
	for _, good := range []string{"127.0.0.1:1", "http://[::1]:1", "http://h:1/", "https://h:1", "unix:///a/b"} {
		if _, err := api.NewClient(good); err != nil {
			t.Errorf("NewClient(%q): %v", good, err)
		}
	}
}

func TestUnreachable(t *testing.T) {
	for _, server := range []string{"unix:///nonexistent/s.sock", "http://127.0.0.1:1"} {
		_, err := client(t, server).Hosts(t.Context())
		e := api.AsError(err)
		if e.Code != snapline.CodeUnavailable || !strings.Contains(e.Message, server) || !strings.Contains(e.Hint, "SNAPLINE_SERVER") {
			t.Errorf("%s: %#v", server, e)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := client(t, "http://127.0.0.1:1").Hosts(ctx); api.AsError(err).Code != snapline.CodeCancelled {
		t.Errorf("cancelled: %v", err)
	}
}

func TestAsError(t *testing.T) {
	inner := &snapline.Error{Code: snapline.CodeBusy, Message: "busy", Hint: "wait", Reasons: []snapline.Reason{{Text: "r"}}}
	for _, c := range []struct {
		err     error
		code    snapline.Code
		message string
	}{
		{inner, snapline.CodeBusy, "busy"},
		{fmt.Errorf("take g: %w", inner), snapline.CodeBusy, "take g: busy"},
		{&snapline.Error{Err: errors.New("x")}, snapline.CodeFailed, "x"},
		{fmt.Errorf("read: %w", snapline.ErrNotFound), snapline.CodeNotFound, "read: not found"},
		{fmt.Errorf("read: %w", snapline.ErrDamaged), snapline.CodeDamaged, "read: damaged"},
		{snapline.ErrNoAnswer, snapline.CodeUnavailable, "no answer"},
		{context.Canceled, snapline.CodeCancelled, "context canceled"},
		{errors.New("odd"), snapline.CodeFailed, "odd"},
	} {
		if e := api.AsError(c.err); e.Code != c.code || e.Message != c.message {
			t.Errorf("%v: %s %q, want %s %q", c.err, e.Code, e.Message, c.code, c.message)
		}
	}
}
