package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/snapline/snapline/lab/bank"
	"github.com/snapline/snapline/lab/etcd"
)

// bootTimeout bounds boot and first election of several guests at once under
// emulation, which takes about 15 s on two processors.
const bootTimeout = 2 * time.Minute

// AwaitHealthy waits until the workload serves: every etcd member agrees on a
// leader and writes, every bank member has all its connections. It gives up
// after two minutes, or at once when a virtual machine has ended.
func (l *Lab) AwaitHealthy(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	try, done := l.probe()
	defer done()
	var dead error
	err := await(ctx, 250*time.Millisecond, func() error {
		for _, v := range l.VMs() {
			if _, err := l.VMPid(v.Name); errors.Is(err, ErrNoVM) {
				dead = fmt.Errorf("%w; %s", err, tail(v.Console))
				cancel()
				return dead
			}
		}
		return try(ctx)
	})
	if dead != nil {
		return dead
	}
	if err != nil {
		return fmt.Errorf("%s did not become healthy: %w", l.Workload(), err)
	}
	return nil
}

// probe returns one try of the workload's health.
func (l *Lab) probe() (try func(context.Context) error, done func()) {
	switch l.Workload() {
	case Etcd:
		clients := l.EtcdClients()
		return func(ctx context.Context) error {
				_, err := etcd.Healthy(ctx, clients)
				return err
			}, func() {
				for _, c := range clients {
					c.Close()
				}
			}
	case Bank, Datagrams, Bench:
		clients := l.BankClients()
		return func(ctx context.Context) error { return connected(ctx, clients) }, func() {}
	default:
		return func(context.Context) error { return l.booted() }, func() {}
	}
}

// connected reports whether every member answers and has its connections.
func connected(ctx context.Context, clients []*bank.Client) error {
	for _, c := range clients {
		s, err := c.State(ctx)
		if err != nil {
			return err
		}
		if !s.Connected() {
			return fmt.Errorf("bank member %s has not all its connections", s.Name)
		}
	}
	return nil
}

// booted reports whether every guest has said on its console that it is up.
func (l *Lab) booted() error {
	for _, v := range l.VMs() {
		data, err := os.ReadFile(v.Console)
		if err != nil {
			return err
		}
		if !strings.Contains(string(data), "snapline: guest "+v.Name) {
			return fmt.Errorf("%s has not booted", v.Name)
		}
	}
	return nil
}

// EtcdEndpoints are the members' client addresses, for use inside the
// switch's namespace.
func (l *Lab) EtcdEndpoints() []string { return l.members("2379") }

// EtcdClients returns a client of each member that works from any namespace.
// Close them when done.
func (l *Lab) EtcdClients() []*etcd.Client {
	var all []*etcd.Client
	for _, e := range l.EtcdEndpoints() {
		all = append(all, etcd.NewClient(e, l.Switch().DialContext))
	}
	return all
}

// BankClients returns a client of each member of the workloads bank, datagrams and bench
// that works from any namespace, for bank.Audit among others.
func (l *Lab) BankClients() []*bank.Client {
	var all []*bank.Client
	for _, e := range l.members(bank.ControlPort) {
		all = append(all, bank.NewClient(e, l.Switch().DialContext))
	}
	return all
}

func (l *Lab) members(port string) []string {
	var all []string
	for _, v := range l.VMs() {
		all = append(all, net.JoinHostPort(v.Address, port))
	}
	return all
}
