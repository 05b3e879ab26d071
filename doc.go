// Package snapline is the vocabulary of a consistent global snapshot: names,
// groups, members, cuts, snapshots, and the few interfaces by which the
// protocol's host (package node) reaches hypervisors, gates and repositories.
//
// It holds no behaviour beyond what a value needs to explain itself. Packages
// beside it are named after what they adapt: qemu, bpf, nats, repo. The pure
// state machines are in protocol; node executes their effects.
package snapline
