package api_test

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/api"
	"github.com/snapline/snapline/api/apitest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// twins is a group that a Fake of default Options can run.
var twins = snapline.Group{Name: "twins", Members: []snapline.Member{
	{Name: "n1", Host: "h1", QEMU: &snapline.QEMU{QMP: "/run/n1.qmp"}},
	{Name: "n2", Host: "h2", QEMU: &snapline.QEMU{QMP: "/run/n2.qmp"}},
}}

func newFake(t *testing.T, o apitest.Options) *apitest.Fake {
	t.Helper()
	f := apitest.New(o)
	t.Cleanup(f.Close)
	return f
}

// subject describes a Fake, asked through through.
func subject(t *testing.T, held bool, through func(*testing.T, api.Service) api.Service) apitest.Subject {
	f := newFake(t, apitest.Options{Hold: held})
	return apitest.Subject{
		Service:   through(t, f),
		Group:     twins,
		Elsewhere: map[snapline.MemberName]snapline.HostName{"n1": "h2"},
		Hold: func(ctx context.Context) snapline.OperationID {
			select {
			case id := <-f.Held():
				return id
			case <-ctx.Done():
				t.Fatal("no operation came to be held")
				return ""
			}
		},
		Release: func(ctx context.Context) {
			if err := f.Release(ctx); err != nil {
				t.Fatal(err)
			}
		},
	}
}

// serve puts svc at addr until the test ends, and returns the listener.
func serve(t *testing.T, addr string, svc api.Service) net.Listener {
	t.Helper()
	l, err := api.Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- api.Serve(ctx, l, svc) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return l
}

func client(t *testing.T, server string) *api.Client {
	t.Helper()
	c, err := api.NewClient(server)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func overTCP(t *testing.T, s api.Service) api.Service {
	return client(t, "http://"+serve(t, "127.0.0.1:0", s).Addr().String())
}

func overUnix(t *testing.T, s api.Service) api.Service {
	server := "unix://" + filepath.Join(t.TempDir(), "s.sock")
	serve(t, server, s)
	return client(t, server)
}

func TestConformance(t *testing.T) {
	for name, through := range map[string]func(*testing.T, api.Service) api.Service{
		"Direct": func(_ *testing.T, s api.Service) api.Service { return s },
		"TCP":    overTCP,
		"Unix":   overUnix,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			apitest.Conformance(t, func(t *testing.T, held bool) apitest.Subject { return subject(t, held, through) })
		})
	}
}

// TestErrorsLossless sends one error of every code through HTTP and back.
func TestErrorsLossless(t *testing.T) {
	for _, code := range []snapline.Code{snapline.CodeFailed, snapline.CodeInvalid, snapline.CodeRefused, snapline.CodeNotFound,
		snapline.CodeBusy, snapline.CodeUnavailable, snapline.CodeDamaged, snapline.CodeCancelled} {
		sent := &snapline.Error{Code: code, Message: "no <go> & \"so\"", Hint: "try `x`",
			Reasons: []snapline.Reason{{Member: "n1", Host: "h1", Text: "writable disk", Hint: "detach it"}, {Text: "and more"}}}
		svc := overUnix(t, apitest.Fault{Service: newFake(t, apitest.Options{}), Errors: map[string]error{"Take": sent}})
		_, err := svc.Take(t.Context(), snapline.TakeRequest{Group: "twins"})
		var got *snapline.Error
		if !errors.As(err, &got) || got.Error() != sent.Error() || got.Code != sent.Code || got.Hint != sent.Hint ||
			len(got.Reasons) != 2 || got.Reasons[0] != sent.Reasons[0] || got.Reasons[1] != sent.Reasons[1] {
			t.Errorf("%s: got %#v, want %#v", code, got, sent)
		}
	}
}
