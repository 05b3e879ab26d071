// Package tcpsim shows that TCP connections survive a snapshot and a restore:
// the members of a simulated group (package sim) are real TCP/IP stacks, those of
// gVisor, with byte streams between them. Their frames go through the gate's own
// rule and a network that loses, repeats and reorders them; their whole state is
// saved at the instant that the protocol's machines choose and loaded when a
// restore asks for it.
//
// After each restore every stream must arrive whole and in order at every member.
// What a member writes differs from one timeline to the next, so that a byte of
// an abandoned timeline is told from the one that took its place.
//
// A history is a function of its seed: the stacks' clocks are the world's, their
// random numbers come from the seed, and after each frame and each timer the
// stack's workers are waited for.
package tcpsim
