package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/snapline/snapline/lab/bank"
)

// drainLimit is for transfers under way to arrive: TCP's waits between two
// retransmissions have grown to some seconds after the longest silence here.
const drainLimit = 20 * time.Second

// audit checks from outside that no money was created or destroyed and no
// connection broke, and says what gaps the members saw since the last reset.
func audit(t *testing.T, clients []*bank.Client) bank.Report {
	t.Helper()
	r, err := bank.Audit(t.Context(), clients, drainLimit)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("audit: %d transfers, longest gap %.0f ms on TCP, %.0f ms on UDP", r.Transfers, r.LongestTCPGapMS, r.LongestUDPGapMS)
	if !r.OK() {
		t.Errorf("the books are not right:\n%s", r.Checks)
	}
	return r
}

func resetGaps(t *testing.T, clients []*bank.Client) {
	t.Helper()
	for _, c := range clients {
		if err := c.ResetGaps(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// received counts what has arrived on every flow of one transport.
func received(ctx context.Context, clients []*bank.Client, transport string) (map[string]uint64, error) {
	all := map[string]uint64{}
	for _, c := range clients {
		s, err := c.State(ctx)
		if err != nil {
			return nil, err
		}
		for _, f := range s.In {
			if f.Transport == transport {
				all[f.Peer+" to "+s.Name] = f.Transfers
			}
		}
	}
	return all, nil
}

// awaitMoney waits until every flow of a transport has carried some more
// transfers: every member runs, sends and hears.
func awaitMoney(t *testing.T, limit time.Duration, clients []*bank.Client, transport string, transfers uint64) time.Duration {
	t.Helper()
	var before map[string]uint64
	return await(t, limit, "money moves on every "+transport+" flow", func(ctx context.Context) error {
		now, err := received(ctx, clients, transport)
		if err != nil {
			return err
		}
		if before == nil {
			before = now
		}
		for flow, n := range now {
			if n < before[flow]+transfers {
				return fmt.Errorf("%s: %d transfers, %d before", flow, n, before[flow])
			}
		}
		return nil
	})
}
