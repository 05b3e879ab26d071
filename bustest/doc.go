// Package bustest lets coordinator and agents run and be tested in one process
// without a network: it holds a Bus and a Store in memory, a Bus that loses,
// delays and repeats messages, and the suites that say what every
// implementation of snapline.Bus and snapline.Store must do.
package bustest
