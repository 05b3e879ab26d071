// Package cli exists to give an operator the snapline command: its verbs, what
// they print, and the exit status that a script can rely on.
//
// The verbs are clients of package api like any other program. One file holds
// one verb: an options struct and a run function that takes all it needs.
package cli
