package topology

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Namespace is the name of a network namespace, as `ip netns` knows it.
type Namespace string

// namedDir is where iproute2 keeps named namespaces, ip-netns(8).
const namedDir = "/run/netns"

// Path is the file that holds the namespace.
func (n Namespace) Path() string { return filepath.Join(namedDir, string(n)) }

// Do runs f in a thread inside the namespace: sockets that f opens and
// interfaces that it sees are the namespace's. f must not start goroutines
// that need the same. The thread ends with f, so nothing can leak out of it.
func (n Namespace) Do(f func() error) error {
	h, err := netns.GetFromPath(n.Path())
	if err != nil {
		return fmt.Errorf("enter namespace %s: %w", n, err)
	}
	defer h.Close()
	done := make(chan error, 1)
	go inside(h, f, done)
	if err := <-done; err != nil {
		return fmt.Errorf("in namespace %s: %w", n, err)
	}
	return nil
}

// inside runs f in a thread of its own, which ends with the goroutine because
// it is never unlocked.
func inside(h netns.NsHandle, f func() error, done chan<- error) {
	runtime.LockOSThread()
	if unix.Gettid() == os.Getpid() {
		// The main thread cannot end, and what it is in is what /proc shows of
		// the whole process: hold it, so that another thread does the work.
		defer runtime.UnlockOSThread()
		inner := make(chan error, 1)
		go inside(h, f, inner)
		done <- <-inner
		return
	}
	if err := netns.Set(h); err != nil {
		done <- err
		return
	}
	done <- f()
}

// DialContext connects from inside the namespace; address must be numeric. It
// fits net/http.Transport.
func (n Namespace) DialContext(ctx context.Context, network, address string) (conn net.Conn, err error) {
	err = n.Do(func() error {
		var d net.Dialer
		conn, err = d.DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// Start starts a command in the namespace. It is in there from its first
// moment, so whoever clears the namespace finds it.
func (n Namespace) Start(cmd *exec.Cmd) error { return n.Do(cmd.Start) }

// Command is a command that will run inside the namespace, under the pid that
// Start gives.
func (n Namespace) Command(name string, args ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{"--net=" + n.Path(), "--", name}, args...)...)
}

// create goes through ip, because ip turns namedDir into a shared mount the
// first time, and a namespace that was put there by other means before then
// would end up hidden beneath that mount, for ever.
func (n Namespace) create(ctx context.Context) error { return ip(ctx, "netns", "add", string(n)) }

func (n Namespace) delete(ctx context.Context) error { return ip(ctx, "netns", "delete", string(n)) }

func ip(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, "ip", args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ip %v: %w: %s", args, err, bytes.TrimSpace(out))
	}
	return nil
}

// inode identifies a namespace while it exists; two files that show the same
// one are the same namespace, namespaces(7).
type inode struct{ dev, ino uint64 }

func stat(path string) (inode, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return inode{}, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return inode{st.Dev, st.Ino}, nil
}

// named lists all named namespaces.
func named() ([]Namespace, error) {
	files, err := os.ReadDir(namedDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []Namespace
	for _, f := range files {
		all = append(all, Namespace(f.Name()))
	}
	return all, nil
}
