package snapline

import (
	"fmt"
	"time"
)

// DefaultLease is how long a member of a protected group may run without a word
// from the coordinator: five hellos of its agent.
const DefaultLease = 5 * time.Second

// MinLease leaves room for two lost hellos.
const MinLease = 3 * time.Second

// CheckLease reports whether a lease can be kept at all.
func CheckLease(d time.Duration) error {
	if d < MinLease {
		return fmt.Errorf("lease %v: agents renew it once a second; give %v at least", d, MinLease)
	}
	return nil
}

// LeaseOver returns from when on, on the clock of the one who gives leases, no
// lease is running any more of a host whose last answered question arrived at
// the given instant there.
//
// The agent counts its lease from before it asked, which was before the question
// arrived. So the time that messages take does not matter, however long an
// answer has been under way: only that the agent's clock may be slow, and this
// one fast.
func LeaseOver(answered Instant, lease time.Duration) Instant {
	return answered.Add(time.Duration(float64(lease)*(1+ClockRateMargin)/(1-ClockRateMargin)) + 1)
}
