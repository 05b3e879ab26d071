// Package pack puts many small objects into few blobs, because storage is slow
// per blob and compression is poor per page. Objects of one kind go into a
// frame, which is compressed and sealed as a whole; frames go into a pack; the
// pack's footer says what is where, so that an index is never the only copy of
// that knowledge. docs/FORMAT.md has every byte.
package pack
