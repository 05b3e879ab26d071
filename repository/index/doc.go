// Package index answers "is this page stored, and where" for more pages than
// memory could hold. It keeps what the repository's index blobs say in sorted
// files of a local directory, mapped into memory: the kernel keeps of them what
// is used, and the heap holds nothing per page. Everything here can be
// rebuilt from the repository; a file that does not authenticate is.
//
// A page takes about 30 bytes of disk: 7.5 MiB for each GiB of different pages.
package index
