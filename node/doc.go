// Package node gives the pure machines of package protocol hands: it runs the
// one imperative loop that feeds them events and executes their effects, as an
// agent (one per host) or as the coordinator, in one process or in many.
//
// Every machine is owned by one goroutine, its runner. Effects that take time
// run beside it and come back as events; all of them belong to a context that
// the runner's Drop cancels and waits for, so nothing of a round outlives it.
package node
