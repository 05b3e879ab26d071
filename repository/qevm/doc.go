// Package qevm takes QEMU's migration stream apart and puts it together
// again, because the pages in it are worth storing one by one and the rest is
// not: of two snapshots of a machine most pages are equal, while as streams of
// bytes they have little in common.
//
// The stream is that of QEMU's migration/savevm.c and migration/ram.c, version
// 3, big-endian:
//
//	"QEVM", 3                         header
//	07 configuration                  optional: machine type, subsections
//	01 section "ram": block table     START: names and lengths of RAM blocks
//	02 records … 10                   PART, any number of them
//	03 records … 10                   END, in a plain migration
//	04 …                              devices' sections, to the stream's end
//
// Each RAM section ends with the footer 7e and its number, unless the machine
// type is too old for footers. A record is a word of 64 bits, address or'ed
// with flags; then the block's name unless CONTINUE is set; then a page of 4096
// bytes (PAGE) or the one byte that it is full of (ZERO). What is compressed,
// sent by other channels, or not RAM is not understood: ErrUnsupported.
package qevm
