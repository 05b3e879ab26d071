package index

import (
	"encoding/binary"

	"github.com/snapline/snapline/repository/page"
)

// A table's filter is a Bloom filter in blocks of one cache line, 10 bits for
// each entry: a page that is not there costs one cache miss, and 1 % of them a
// look into the table. Ids are hashes already, so their bits are used as they
// are.
const (
	filterBlock  = 64 // bytes
	filterBits   = 10 // per entry
	filterProbes = 6
)

func filterSize(entries int) int64 {
	return (int64(entries)*filterBits/8/filterBlock + 1) * filterBlock
}

// filterAt returns the id's block and the source of its bit numbers.
func filterAt(filter []byte, id page.ID) (block []byte, bits uint64) {
	blocks := uint64(len(filter) / filterBlock)
	no := uint64(binary.LittleEndian.Uint32(id[12:])) * blocks >> 32
	return filter[no*filterBlock:][:filterBlock], binary.LittleEndian.Uint64(id[4:])
}

func filterAdd(filter []byte, id page.ID) {
	block, bits := filterAt(filter, id)
	for range filterProbes {
		block[bits>>3&63] |= 1 << (bits & 7)
		bits >>= 9
	}
}

func filterHas(filter []byte, id page.ID) bool {
	block, bits := filterAt(filter, id)
	for range filterProbes {
		if block[bits>>3&63]&(1<<(bits&7)) == 0 {
			return false
		}
		bits >>= 9
	}
	return true
}
