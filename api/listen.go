package api

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
)

// Listen listens at host:port or unix:///path. A socket's file can be used by
// its owner only; one that a dead server left behind is replaced, and it is an
// error when somebody still listens there. Closing the listener removes the
// file.
func Listen(addr string) (net.Listener, error) {
	a, err := parseAddress(addr)
	if err != nil {
		return nil, err
	}
	if a.tls {
		return nil, fmt.Errorf("listen at %s: write HOST:PORT; TLS is spoken there when the coordinator has an authority (snapline init)", addr)
	}
	lc := net.ListenConfig{}
	if a.network == "unix" {
		if err := removeStale(a.at); err != nil {
			return nil, err
		}
		lc.Control = private
	}
	l, err := lc.Listen(context.Background(), a.network, a.at)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("listen at %s: somebody listens there already", addr)
	}
	if err != nil {
		return nil, fmt.Errorf("listen at %s: %w", addr, err)
	}
	return l, nil
}

// private gives the socket its mode before bind makes the file, so that there
// is no moment in which others can connect: on Linux the file's mode is the
// socket inode's, less the umask (unix_bind_bsd in net/unix/af_unix.c).
func private(_, _ string, c syscall.RawConn) error {
	var chmodErr error
	if err := c.Control(func(fd uintptr) { chmodErr = syscall.Fchmod(int(fd), 0o600) }); err != nil {
		return err
	}
	return chmodErr
}

// removeStale removes a socket file that nobody listens at.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("listen at unix://%s: %w", path, err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("listen at unix://%s: the file exists and is not a socket", path)
	}
	conn, err := net.Dial("unix", path)
	switch {
	case err == nil:
		conn.Close()
		return fmt.Errorf("listen at unix://%s: somebody listens there already", path)
	case !errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("listen at unix://%s: does anybody? %w", path, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove stale socket: %w", err)
	}
	return nil
}
