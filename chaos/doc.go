// Command chaos finds out whether Snapline keeps its promises while everything
// goes wrong: it protects a bank and an etcd cluster in labs of their own, and for
// some minutes kills, freezes, cuts off and fills up what they stand on, as a seed
// has drawn it, also in the middle of snapshots and restores. After each step it
// waits until all is well again and looks closely: no money made or lost, etcd
// linearizable as its clients saw it, with restores as the only way back, every
// machine running once and open to the network, nothing left of anything.
//
// It prints a table, writes out/chaos.json, and exits 0 only when every check
// held. Nothing of it is left afterwards, also when it is interrupted.
// docs/RELIABILITY.md says what it has found.
package main
