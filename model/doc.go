// Package model explores every interleaving of a snapshot round and of restores,
// within stated bounds, with the model checker Spin. The simulator beside package
// protocol runs the real machines through histories drawn at random; the models
// here are smaller than the machines and leave nothing out.
//
// round.pml and restore.pml are the models and say what they abstract from. Cases
// says which bounds are explored, which wrong variants of the protocol must show
// which counter-example, and which states must be reachable for the rest to mean
// anything.
//
// Needs the Debian packages spin and gcc. The tests run the small bounds; make
// model runs all.
package model
