package lab

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/snapline/snapline/lab/bank"
)

// Members in guests move money and the auditor outside finds their books right.
func TestBankCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("boots three virtual machines")
	}
	l := newLabUp(t, Options{Workload: Bank})
	clients := l.BankClients()
	start := time.Now()
	for range 2 { // it goes on after an audit
		r, err := bank.Audit(t.Context(), clients, 20*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%d transfers %v after the start, longest gap %.0f ms on TCP, %.0f ms on UDP\n%s",
			r.Transfers, time.Since(start), r.LongestTCPGapMS, r.LongestUDPGapMS, r.Checks)
		if !r.OK() {
			t.Error("the books are not right")
		}
		enough := r.Transfers + 200
		awaitTransfers(t, clients, enough)
	}
	if text, err := os.ReadFile(l.GroupFile()); err != nil || len(text) == 0 {
		t.Errorf("group file: %q, %v", text, err)
	}
}

func awaitTransfers(t *testing.T, clients []*bank.Client, enough uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	err := await(ctx, 100*time.Millisecond, func() error {
		var sum uint64
		for _, c := range clients {
			s, err := c.State(ctx)
			if err != nil {
				return err
			}
			for _, f := range s.In {
				sum += f.Transfers
			}
		}
		if sum < enough {
			return fmt.Errorf("%d transfers, want %d", sum, enough)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
