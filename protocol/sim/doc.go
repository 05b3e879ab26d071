// Package sim proves the protocol by trying to break it: it runs the real state
// machines in a whole simulated world (hosts, clocks, gates, virtual machines, a
// control network, a data network) in virtual time, lets adversaries loose on
// them, and judges every committed snapshot by the definition of a consistent
// cut.
//
// A history is a function of its seed alone. The same seed gives the same
// history on every machine and with every version of Go, for the world has a
// random generator of its own, no goroutines and no clock but its own.
package sim
