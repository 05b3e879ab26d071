package topology

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"sort"
	"strconv"

	"github.com/snapline/snapline"
)

// Network is the hosts and the switch of one lab. Several exist side by side
// with the same addresses, for no two share a namespace.
type Network struct {
	// Name is the lab's; at most MaxName bytes.
	Name string
	// Hosts is how many there are, 1 to MaxHosts; they are called h1, h2, …
	Hosts int
	// IPv6 leaves IPv6 on in the namespaces.
	IPv6 bool
}

const (
	// MaxHosts keeps hosts' addresses below those of virtual machines.
	MaxHosts = 10
	// MaxName keeps paths of unix sockets that carry the name below the 108
	// bytes of sockaddr_un, unix(7).
	MaxName = 32
	// Bridge is the name of each namespace's bridge.
	Bridge = "br0"
	// SwitchAddress is where coordinator and clients are.
	SwitchAddress = "10.77.0.254"
	// PrefixLen is the length of the network's prefix.
	PrefixLen = 24
)

// HostName is the name of the i-th host, counting from 1.
func HostName(i int) string { return "h" + strconv.Itoa(i) }

// HostAddress is the i-th host's address on its bridge.
func HostAddress(i int) string { return "10.77.0." + strconv.Itoa(i) }

// VMAddress is the address of the i-th virtual machine, counting from 1.
func VMAddress(i int) string { return "10.77.0." + strconv.Itoa(MaxHosts+i) }

// VMHardwareAddress is the i-th virtual machine's, in QEMU's range.
func VMHardwareAddress(i int) string { return fmt.Sprintf("52:54:00:77:00:%02x", MaxHosts+i) }

// Namespace is the name of a place's network namespace: of a host ("h1"), or
// of the switch ("sw").
func (n Network) Namespace(place string) Namespace {
	return Namespace("sl-" + n.Name + "-" + place)
}

// Switch is the switch's namespace.
func (n Network) Switch() Namespace { return n.Namespace("sw") }

// namespaces lists what Up makes, the switch first.
func (n Network) namespaces() []Namespace {
	all := []Namespace{n.Switch()}
	for i := 1; i <= n.Hosts; i++ {
		all = append(all, n.Namespace(HostName(i)))
	}
	return all
}

func (n Network) check() error {
	if err := CheckName(n.Name); err != nil {
		return err
	}
	if n.Hosts < 1 || n.Hosts > MaxHosts {
		return fmt.Errorf("%d hosts: a lab has 1 to %d", n.Hosts, MaxHosts)
	}
	return nil
}

// CheckName reports whether a lab can have that name.
func CheckName(name string) error {
	if err := snapline.CheckName("lab", name); err != nil {
		return err
	}
	if len(name) > MaxName {
		return fmt.Errorf("lab name %q: at most %d characters", name, MaxName)
	}
	return nil
}

// ErrExists says that something of a lab of that name is there already.
var ErrExists = errors.New("exists already")

// Up makes the network. It refuses with ErrExists if anything of the name is
// there, and leaves nothing behind when it returns another error.
func (n Network) Up(ctx context.Context) error {
	if err := n.check(); err != nil {
		return err
	}
	left, err := existing(n.Name)
	if err != nil {
		return err
	}
	if len(left) > 0 {
		return fmt.Errorf("network of lab %s: %w: namespace %s", n.Name, ErrExists, left[0])
	}
	if err := n.build(ctx); err != nil {
		return errors.Join(fmt.Errorf("network of lab %s: %w", n.Name, err), Down(context.WithoutCancel(ctx), n.Name))
	}
	return nil
}

func (n Network) build(ctx context.Context) error {
	for _, ns := range n.namespaces() {
		if err := ns.create(ctx); err != nil {
			return err
		}
		if err := ns.Do(func() error { return quiet(n.IPv6) }); err != nil {
			return err
		}
	}
	sw := n.Switch()
	if err := sw.Do(func() error { return bridge(SwitchAddress) }); err != nil {
		return err
	}
	for i := 1; i <= n.Hosts; i++ {
		host := n.Namespace(HostName(i))
		if err := sw.Do(func() error { return cable("p"+strconv.Itoa(i), host) }); err != nil {
			return fmt.Errorf("connect %s: %w", host, err)
		}
		err := host.Do(func() error {
			if err := bridge(HostAddress(i)); err != nil {
				return err
			}
			return attach(uplink)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// existing lists the lab's namespaces that are there, sorted. The pattern
// keeps labs apart of which one's name begins with the other's.
func existing(name string) ([]Namespace, error) {
	own := regexp.MustCompile(`^sl-` + regexp.QuoteMeta(name) + `-(sw|h[0-9]+)$`)
	all, err := named()
	if err != nil {
		return nil, err
	}
	var found []Namespace
	for _, ns := range all {
		if own.MatchString(string(ns)) {
			found = append(found, ns)
		}
	}
	sort.Slice(found, func(i, j int) bool { return found[i] < found[j] })
	return found, nil
}
