// Package blobtest holds what every blob.Store must pass, so that a repository
// behaves the same on all of them, and stores that fail on purpose.
package blobtest

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/snapline/snapline/repository/blob"
)

// Run holds a store against the contract in blob.Store. open returns an empty
// store each time, and lets go of it by t.Cleanup.
func Run(t *testing.T, open func(t *testing.T) blob.Store) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, s blob.Store)
	}{
		{"empty", testEmpty},
		{"round trip", testRoundTrip},
		{"replace", testReplace},
		{"ranges", testRanges},
		{"names", testNames},
		{"source of another size", testWrongSize},
		{"source that breaks", testBrokenSource},
		{"source that cannot be read in parallel", testPlainSource},
		{"create once", testCreate},
		{"create at once", testCreateRace},
		{"put at once", testPutRace},
		{"list", testList},
		{"list in order", testListOrder},
		{"list stops", testListStops},
		{"delete", testDelete},
		{"delete while listing", testDeleteListed},
		{"context", testContext},
		{"free", testFree},
		{"rate", testRate},
		{"large", testLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			// Registered first, so it looks when the store is closed.
			now := goleak.IgnoreCurrent()
			t.Cleanup(func() { goleak.VerifyNone(t, now) })
			c.test(t, open(t))
		})
	}
}
