package node

import "time"

// Intervals that are nobody's protocol deadline.
const (
	probedFor   = 15 * time.Second       // from PROBE to ARM at the most, as DefaultDeadlines' Ready
	lingerFor   = 100 * time.Millisecond // for packets in transit to be recorded after DISARM
	helloEvery  = time.Second
	rosterLook  = 100 * time.Millisecond // for hosts that have fallen silent
	probeWait   = 25 * time.Millisecond  // for the other members' probes to arrive
	reportEvery = 250 * time.Millisecond // progress of long work
	resumeLimit = 10 * time.Second       // to resume a VM when a round is dropped
	mergeLimit  = 10 * time.Minute       // to merge what a guest wrote during a capture
	askLimit    = 5 * time.Second        // for an agent to inspect its members
	rememberOps = 24 * time.Hour         // operations that have ended
	loadedLimit = 5 * time.Minute        // for loaded members to be opened
)
