// Package protocol decides what happens next in a snapshot round and in a
// restore, and nothing else: the coordinator's and the agents' state machines
// are pure, so that every interleaving of them can be explored and a recorded
// history can be replayed.
//
// Each machine has one mutating method, Step(Event) []Effect. Time arrives in
// events as readings of the machine's own clock; effects are plain structs,
// executed in slice order by the imperative loop of package node. When an
// effect that can fail does fail, the rest of its slice is not executed and the
// failure comes back as a Failed event.
//
// What a machine has seen and wanted is a trace (Line). Golden files, simulator
// and the running programs write the same one; Replay gives its events to machines
// again.
//
// A round: PREPARE, PROBE, ARM, CUT, DISARM, STORE, COMMIT; ABORT until COMMIT.
// docs/PROTOCOL.md argues why the cut is consistent.
package protocol
