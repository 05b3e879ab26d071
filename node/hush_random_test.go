package node_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/snapline/snapline"
)

var drainSeed = flag.Uint64("drain-seed", 0, "run only this history of TestDrainsInTrouble")

// TestDrainsInTrouble drains hosts of a protected group while coordinators die, agents
// freeze, steps fail and take long. Whatever happens, no drain that says that it took
// nothing back has, and what anybody has heard and is taken back some event tells.
//
//	go test ./node -run DrainsInTrouble -v -drain-seed 7
func TestDrainsInTrouble(t *testing.T) {
	n := uint64(60)
	if testing.Short() {
		n = 15
	}
	var total drainStats
	for seed := uint64(1); seed <= n; seed++ {
		if *drainSeed != 0 && seed != *drainSeed {
			continue
		}
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { drainsInTrouble(t, seed, &total) })
		})
	}
	t.Logf("%+v", total)
	if *drainSeed == 0 && (total.Kept < int(n)/2 || total.Broken == 0 || total.Heard == 0) {
		t.Errorf("%+v: that is too peaceful, or too wild", total)
	}
}

// drainStats show that histories go where it hurts.
type drainStats struct {
	Kept   int // drains that took nothing back
	Heard  int // that took something back
	Failed int // that failed, or whose coordinator did
	Broken int // promises
}

func drainsInTrouble(t *testing.T, seed uint64, total *drainStats) {
	r := rand.New(rand.NewPCG(seed, 0))
	c, end := newCluster(t)
	defer end()
	if _, err := c.c.Protect(t.Context(), snapline.ProtectRequest{Group: "g", EveryMS: 3600e3}); err != nil {
		t.Fatal(err)
	}
	who := newClient(c.site)
	well := func() bool {
		c.mu.Lock()
		leader := c.leader
		c.mu.Unlock()
		st, err := leader.Status(t.Context(), "g")
		return err == nil && st.Protection != nil && st.Protection.State == snapline.ProtectionOK && st.Last != "" && st.Operation == ""
	}
	patiently(t, "well at first", well)
	for drains := 0; drains < 3; drains++ {
		began := time.Now()
		h := host(1 + r.IntN(3))
		limit := time.Duration(1+r.IntN(40)) * time.Second
		if _, err := c.c.Drain(t.Context(), snapline.DrainRequest{Host: h, DeadlineMS: float64(limit.Milliseconds())}); err != nil {
			t.Fatal(err)
		}
		if r.IntN(4) > 0 {
			c.trouble(t, r)
		}
		patiently(t, "the drain has ended", func() bool {
			c.mu.Lock()
			leader := c.leader
			c.mu.Unlock()
			err := leader.Undrain(t.Context(), h)
			return err == nil
		})
		patiently(t, "well again", well)
		who.all("after a drain")
		moved := slices.DeleteFunc(c.events(snapline.EventRestored), func(e snapline.Event) bool { return e.At.Before(began) })
		switch {
		case len(moved) == 0:
			total.Failed++
		case moved[0].Lost == nil:
			total.Kept++
		default:
			total.Heard++
		}
	}
	total.Broken += len(who.promises())
	c.admitted(who.promises())
	if n := c.hushFences(); n > 0 {
		t.Errorf("%d fences are left that silence somebody", n)
	}
}

// trouble does something bad at some moment, and takes it back later.
func (c *cluster) trouble(t *testing.T, r *rand.Rand) {
	wait := func(limit time.Duration) { time.Sleep(time.Duration(r.Int64N(int64(limit)))) } // virtual
	step := []string{"adopt", "cut", "finish", "plan", "stop", "load", "resume"}[r.IntN(7)] + " " + string(member(1+r.IntN(3)))
	h := host(1 + r.IntN(3))
	if r.IntN(2) == 0 { // while it takes long, more can go wrong
		release := c.cloud.holdAt(step)
		defer release()
	}
	wait(3 * time.Second)
	switch r.IntN(5) {
	case 0, 1:
		old := c.lead(nil)
		old.kill()
		c.start(fmt.Sprintf("c%d", len(c.processes)+1))
		c.lead(old)
	case 2:
		c.behind[h].freeze()
		wait(20 * time.Second)
		c.behind[h].unfreeze()
	case 3:
		c.stopA[h]()
		wait(20 * time.Second)
		c.startAgent(h)
	case 4:
		c.cloud.failAt(step, errBroken)
		wait(20 * time.Second)
		c.cloud.failAt(step, nil)
	}
	wait(15 * time.Second)
}
