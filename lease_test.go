package snapline_test

import (
	"testing"
	"time"

	"github.com/snapline/snapline"
)

// TestLeaseOver: whatever the two clocks' rates within the margin, and however
// long question and answer were under way, the lease is over.
func TestLeaseOver(t *testing.T) {
	for _, lease := range []time.Duration{snapline.MinLease, snapline.DefaultLease, time.Hour} {
		for _, agent := range []float64{1 - snapline.ClockRateMargin, 1, 1 + snapline.ClockRateMargin} {
			for _, giver := range []float64{1 - snapline.ClockRateMargin, 1, 1 + snapline.ClockRateMargin} {
				for _, delay := range []float64{0, 1e9, 3600e9} {
					// True time 0 is when the agent reads its clock and asks.
					end := float64(lease) / agent
					answered := snapline.Instant(delay * giver)
					over := float64(snapline.LeaseOver(answered, lease)) / giver
					if over < end {
						t.Errorf("lease %v, rates %v and %v, delay %v: over at %v, but it ends at %v", lease, agent, giver, delay, over, end)
					}
				}
			}
		}
	}
	if snapline.CheckLease(snapline.DefaultLease) != nil || snapline.CheckLease(snapline.MinLease-1) == nil {
		t.Error("limits of leases")
	}
}
