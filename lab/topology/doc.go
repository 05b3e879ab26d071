// Package topology exists so that one machine can play several hosts: each
// host is a network namespace with a bridge of its own, and a switch namespace
// joins them. Nothing in them can reach the machine's own network, nor the
// other way round.
//
//	sl-demo-h1            sl-demo-sw                sl-demo-h2
//	br0 10.77.0.1 ─ up0 ═══ p1 ─ br0 10.77.0.254 ─ p2 ═══ up0 ─ br0 10.77.0.2
//	 └ tap-n1                                                  └ tap-n2
//
// The namespaces are named, so `ip netns exec sl-demo-h1 …` works, and they
// are the record of what belongs to a network: every process inside is its
// own, and Down ends it, whoever started it.
package topology
