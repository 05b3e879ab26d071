package lab

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/snapline/snapline/lab/bank"
)

// Two guests ping and write memory when told to; one is killed, and its script
// starts it on the other host.
func TestBenchGuests(t *testing.T) {
	if testing.Short() {
		t.Skip("boots two virtual machines")
	}
	l := newLabUp(t, Options{Hosts: 2, Workload: Bench})
	clients := l.BankClients()
	if err := clients[0].StartPing(t.Context(), "n2"); err != nil {
		t.Fatal(err)
	}
	if err := clients[1].StartWriter(t.Context(), 64); err != nil {
		t.Fatal(err)
	}
	awaitBench(t, clients[0], func(s bank.BenchState) bool { return s.Pings > 200 })
	awaitBench(t, clients[1], func(s bank.BenchState) bool { return s.PagesWritten > 64<<10 })

	first, err := l.VMPid("n1")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.StartVM(t.Context(), "n1", "h2"); err == nil {
		t.Fatal("n1 was started twice")
	}
	if err := l.KillVM(t.Context(), "n1"); err != nil {
		t.Fatal(err)
	}
	if _, err := l.VMPid("n1"); !errors.Is(err, ErrNoVM) {
		t.Fatalf("after KillVM: %v, want ErrNoVM", err)
	}
	if err := l.StartVM(t.Context(), "n1", "h2"); err != nil {
		t.Fatal(err)
	}
	if second, err := l.VMPid("n1"); err != nil || second == first {
		t.Fatalf("pid %d, before %d: %v", second, first, err)
	}
	if host, err := l.VMHost("n1"); err != nil || host != "h2" {
		t.Errorf("n1 runs on %q, %v", host, err)
	}
	awaitBench(t, clients[0], func(s bank.BenchState) bool { return s.Pings == 0 }) // booted afresh
}

func awaitBench(t *testing.T, c *bank.Client, ok func(bank.BenchState) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	var s bank.BenchState
	err := await(ctx, 100*time.Millisecond, func() (err error) {
		if s, err = c.Bench(ctx); err == nil && !ok(s) {
			err = fmt.Errorf("%+v", s)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d pings, longest gap %.1f ms; %.0f pages/s", s.Pings, s.LongestGapMS, float64(s.PagesWritten)/max(s.WritingMS, 1)*1000)
}
