// Package repository keeps snapshots of virtual machines so that one taken
// every few minutes costs what has changed, and can be trusted. It cuts
// captured streams into pages, names them by their content, and stores what is
// new, compressed and encrypted, on any blob.Store. Every snapshot is whole to
// read and an increment to store.
//
//	config                     what this is: format, id
//	keys/ID                    the master key, wrapped by a passphrase or key file
//	packs/XX/ID                pages and page maps, many to a pack
//	index/ID                   what is in which pack; can be made anew from them
//	roots/SNAPSHOT/MEMBER      a member's stream or disk: the roots of its page maps
//	snapshots/SNAPSHOT         the record; creating it is the commit
//
// Memory does not grow with the machine: a Put takes up to 180 MiB (four packs
// of 16 MiB, what the compressors need, and the ids of pages that are not yet
// indexed), an open stream up to 220 MiB, of which 64 MiB are shared by all.
// In the cache directory the index takes 7.5 MiB for each GiB of different
// pages, and a Put 4 MiB for each GiB of the machine while it runs.
//
// docs/FORMAT.md describes every byte.
package repository
