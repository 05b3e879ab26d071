package qemu

import (
	"fmt"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// namespace is the network namespace that a Hypervisor works in.
type namespace struct {
	path string // empty: this process's own
	id   nsID
}

// newNamespace takes a path, or a name as of "ip netns"; empty is our own.
func newNamespace(name string) (namespace, error) {
	if name == "" {
		// Not /proc/self: that is the main thread's, which others may have moved.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		id, err := namespaceID("/proc/thread-self/ns/net")
		return namespace{id: id}, err
	}
	if !strings.Contains(name, "/") {
		name = filepath.Join("/run/netns", name)
	}
	id, err := namespaceID(name)
	return namespace{path: name, id: id}, err
}

// nsID tells one namespace from another (namespaces(7): device and inode).
type nsID struct{ dev, ino uint64 }

func namespaceID(path string) (nsID, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return nsID{}, fmt.Errorf("network namespace %s: %w", path, err)
	}
	return nsID{st.Dev, st.Ino}, nil
}

// holds reports whether the process is in this namespace.
func (n namespace) holds(pid int) (bool, error) {
	theirs, err := namespaceID(fmt.Sprintf("/proc/%d/ns/net", pid))
	return n.id == theirs, err
}

// netlink opens a route socket in the namespace; the caller closes it.
func (n namespace) netlink() (*netlink.Handle, error) {
	var h *netlink.Handle
	err := n.do(func() (err error) {
		h, err = netlink.NewHandle(unix.NETLINK_ROUTE)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	return h, nil
}

// do runs f in a thread inside the namespace. Processes, sockets and tun
// devices that f makes are born there.
func (n namespace) do(f func() error) error {
	if n.path == "" {
		return f()
	}
	result := make(chan error, 1)
	go n.visit(f, result)
	return <-result
}

// visit is the life of a goroutine, and of its thread: the thread is never
// unlocked, so Go ends it with the goroutine, and no other goroutine can run on
// a thread that is in the wrong namespace. The main thread cannot end, and
// /proc/self is about it; it is only occupied while another does the work.
func (n namespace) visit(f func() error, result chan<- error) {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		inner := make(chan error, 1)
		go n.visit(f, inner)
		result <- <-inner
		runtime.UnlockOSThread()
		return
	}
	ns, err := netns.GetFromPath(n.path)
	if err == nil {
		err = netns.Set(ns)
		ns.Close()
	}
	if err != nil {
		result <- fmt.Errorf("enter network namespace %s: %w", n.path, err)
		return
	}
	result <- f()
}
