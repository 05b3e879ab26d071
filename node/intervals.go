package node

import "time"

// Intervals that are nobody's protocol deadline.
const (
	probedFor   = 15 * time.Second       // from PROBE to ARM at the most, as DefaultDeadlines' Ready
	lingerFor   = 100 * time.Millisecond // for packets in transit to be recorded after DISARM
	helloEvery  = time.Second
	peersEvery  = time.Second            // reports of members' peers; and for an answer
	rosterLook  = 100 * time.Millisecond // for hosts that have fallen silent
	aliveFor    = 10 * time.Second       // after a hello or a look at the agents was due
	rejoinAfter = 20 * time.Second       // without a coordinator: longer than one takes over from another
	probeWait   = 25 * time.Millisecond  // for the other members' probes to arrive
	reportEvery = 250 * time.Millisecond // progress of long work
	resumeLimit = 10 * time.Second       // to resume a VM when a round is dropped
	dropLate    = 20 * time.Second       // a round that is being dropped is stuck
	mergeLimit  = 10 * time.Minute       // to merge what a guest wrote during a capture
	askLimit    = 5 * time.Second        // for an agent to inspect its members
	examineTime = 30 * time.Second       // for an agent to examine its host
	rateTime    = time.Second            // at least, between two looks at a clock
	pathTime    = 10 * time.Second       // for one step of the check of paths
	pathLimit   = 45 * time.Second       // that a gate of it stays up without a word
	pathTries   = 4                      // probes may be lost
	rememberOps = 24 * time.Hour         // operations that have ended
	loadedLimit = 5 * time.Minute        // for loaded members to be opened
)
