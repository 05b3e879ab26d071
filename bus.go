package snapline

import (
	"context"
	"strings"
)

// Address is who a message is for: the coordinator or one host's agent.
type Address string

// ToCoordinator is the address of the one coordinator.
const ToCoordinator Address = "coordinator"

// ToAgent is the address of a host's agent.
func ToAgent(h HostName) Address { return Address("agent." + string(h)) }

// Host is the host whose agent the address is; false when it is nobody's.
func (a Address) Host() (HostName, bool) {
	h, ok := strings.CutPrefix(string(a), "agent.")
	return HostName(h), ok && CheckName("host", h) == nil
}

// Bus carries messages between the coordinator and the agents. A message may be
// lost or arrive late; the protocol repeats what matters and recognises what is
// stale. One implementation is package nats. Safe for use from several
// goroutines.
type Bus interface {
	// Send hands one message to the network. A nil error does not mean that it
	// arrived.
	Send(ctx context.Context, to Address, msg []byte) error
	// Receive calls handle for every message to at, one after the other, until
	// the returned function is called; then no call of handle is running any
	// more. handle must not block for long. from is who sent it: where the bus
	// authenticates its users, nobody can pretend to be another.
	Receive(at Address, handle func(from Address, msg []byte)) (stop func(), err error)
	// Ask sends a question and waits for the answer; ErrNoAnswer when nobody
	// serves the address or ctx ends first.
	Ask(ctx context.Context, to Address, question []byte) ([]byte, error)
	// Answer serves questions to at, each in a goroutine of its own, until the
	// returned function is called. from is who asks, as for Receive. A nil answer is
	// none: who serves the same address may give one.
	Answer(at Address, answer func(ctx context.Context, from Address, question []byte) []byte) (stop func(), err error)
}

// Store keeps the coordinator's small durable state: groups, where their
// members are, the last round's number. What Put and Create have accepted is on
// disk. Keys are made of CheckName parts joined by dots. Safe for use from
// several goroutines.
type Store interface {
	// Get returns the value and its revision: ErrNotFound when there is none.
	Get(ctx context.Context, key string) (value []byte, revision uint64, err error)
	// Put writes whatever was there before.
	Put(ctx context.Context, key string, value []byte) error
	// Swap writes only over the given revision (0: only when there is no value),
	// and returns the new one; ErrConflict when another writer came first.
	Swap(ctx context.Context, key string, value []byte, revision uint64) (uint64, error)
	// Keys lists the keys that begin with prefix, sorted.
	Keys(ctx context.Context, prefix string) ([]string, error)
	// Delete removes a key; no value is no error.
	Delete(ctx context.Context, key string) error
}
