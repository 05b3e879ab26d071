package main

import "context"

// leftRoom is what a full disk has: some small files still fit.
const leftRoom = 64 << 10

// fill leaves next to nothing free where a spool, or the repository, is.
func fill(at string, room int64) (cure, error) {
	empty := func(context.Context) error { return resize(at, func(used int64) int64 { return room - used }) }
	return cure{healDisk, empty}, resize(at, func(int64) int64 { return leftRoom })
}
