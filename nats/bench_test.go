package nats_test

import (
	"fmt"
	"testing"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/nats"
)

// BenchmarkRound sends a message to each of 100 agents and waits for all their
// acknowledgements: one phase of the protocol.
func BenchmarkRound(b *testing.B) {
	const agents = 100
	server := start(b, b.TempDir())
	coordinator := dial(b, nats.DialOptions{InProcess: server})
	acks := make(chan struct{}, agents)
	stop, err := coordinator.Receive(snapline.ToCoordinator, func(snapline.Address, []byte) { acks <- struct{}{} })
	if err != nil {
		b.Fatal(err)
	}
	defer stop()
	var at []snapline.Address
	for i := range agents {
		to := snapline.ToAgent(snapline.HostName(fmt.Sprintf("h%d", i)))
		agent := dial(b, nats.DialOptions{URL: server.URL()})
		stop, err := agent.Receive(to, func(_ snapline.Address, m []byte) { _ = agent.Send(b.Context(), snapline.ToCoordinator, m) })
		if err != nil {
			b.Fatal(err)
		}
		defer stop()
		at = append(at, to)
	}
	msg := make([]byte, 200)
	for b.Loop() {
		for _, to := range at {
			if err := coordinator.Send(b.Context(), to, msg); err != nil {
				b.Fatal(err)
			}
		}
		for range at {
			next(b, acks)
		}
	}
}

func BenchmarkStorePut(b *testing.B) {
	s := openStore(b, dial(b, nats.DialOptions{InProcess: start(b, b.TempDir())}))
	value := make([]byte, 1000)
	for b.Loop() {
		if err := s.Put(b.Context(), "group.etcd", value); err != nil {
			b.Fatal(err)
		}
	}
}
