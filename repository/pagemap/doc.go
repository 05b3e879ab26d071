// Package pagemap says which page is where in a machine's memory or disk, as a
// tree of nodes that are stored like pages: what did not change between two
// snapshots is the same node, and costs nothing. A node is 64 ids: of pages at
// the lowest level (256 KiB of memory), of nodes above. A part in which all
// pages are absent, or full of the same byte, has no node: its id says it.
package pagemap
