package api

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os/user"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/snapline/snapline"
)

// Caller is who sent a request.
type Caller struct {
	// Name is user/NAME of a certificate, or local/NAME of a user of this machine.
	Name string
	Role snapline.Role
	// Ends is closed when the caller may not go on; nil means never.
	Ends <-chan struct{}
	// From is the address that the request came from.
	From string
}

type callerKey struct{}

// CallerOf returns who sent the request that ctx belongs to.
func CallerOf(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}

// clearKey marks requests that came by TCP, in clear.
type clearKey struct{}

func inClear(ctx context.Context) bool { return ctx.Value(clearKey{}) != nil }

// withPeer notes who is at the other end of a unix socket, and what comes by TCP. The socket's file lets the
// owner and root in, and the kernel says which of them it is.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	if _, ok := c.(*net.TCPConn); ok {
		return context.WithValue(ctx, clearKey{}, true)
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		return ctx
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return ctx
	}
	name := "unknown"
	err = raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			name = userName(cred.Uid)
		}
	})
	if err != nil {
		return ctx
	}
	return context.WithValue(ctx, callerKey{}, Caller{Name: "local/" + name, Role: snapline.RoleOperator, From: "unix"})
}

// isLoopback reports whether a Host header can only mean the machine that it was
// sent from.
func isLoopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

func userName(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return id
}

// identify lets requests through whose sender is known, with the Caller in their
// context, which ends when the caller's right does.
func (s Server) identify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := s.caller(r)
		if err != nil {
			e := AsError(err)
			writeProblem(w, statusOf(e.Code), e)
			return
		}
		ctx, cancel := context.WithCancel(context.WithValue(r.Context(), callerKey{}, c))
		defer cancel()
		if c.Ends != nil {
			go func() {
				select {
				case <-c.Ends:
					cancel()
				case <-ctx.Done():
				}
			}()
		}
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

func (s Server) caller(r *http.Request) (Caller, error) {
	if c := CallerOf(r.Context()); c.Name != "" {
		return c, nil // by unix socket
	}
	if r.TLS == nil {
		// In clear, from this machine: the listener is on loopback. A browser here could
		// be led to it by a name that a web page's owner has pointed at 127.0.0.1.
		if inClear(r.Context()) && !isLoopback(r.Host) {
			return Caller{}, &snapline.Error{Code: snapline.CodeDenied, Message: fmt.Sprintf("a request for %q came to an address of this machine", r.Host), Hint: "ask http://127.0.0.1:PORT, http://localhost:PORT or a unix socket"}
		}
		return Caller{Name: "local/unknown", Role: snapline.RoleOperator, From: r.RemoteAddr}, nil
	}
	var cert *x509.Certificate
	if len(r.TLS.VerifiedChains) > 0 {
		cert = r.TLS.VerifiedChains[0][0]
	}
	if cert == nil || s.Identify == nil {
		return Caller{}, &snapline.Error{Code: snapline.CodeDenied, Message: "the coordinator wants to know who asks",
			Hint: "name your credential with --credential FILE or SNAPLINE_CREDENTIAL; an operator makes one with `snapline user add`"}
	}
	c, err := s.Identify(cert)
	if err == nil && c.Role == "" {
		err = &snapline.Error{Code: snapline.CodeDenied, Message: c.Name + " is no user, and has nothing to ask here"}
	}
	c.From = r.RemoteAddr
	return c, err
}
