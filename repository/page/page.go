// Package page names memory by its content, so that what is the same is stored
// once: across the pages of a machine, across machines, across snapshots.
package page

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"

	"github.com/zeebo/blake3"
)

// Size is the length of a page in bytes: the unit of a QEMU migration stream
// on x86, and of disks here.
const Size = 4096

// ID names a page or a node of a page map by its content: the first 128 bits
// of its keyed BLAKE3. Two of 2^40 different pages (4 PiB) get the same one
// with a probability of 2^-49; nobody can look for such a pair, nor confirm a
// page by guessing it, without the key. A longer id would make maps and
// indexes, which do not compress, longer too.
//
// Ids whose first 14 bytes are zero are no hashes: see Absent and Fill.
type ID [16]byte

// Absent stands for a page that the stream did not hold.
var Absent = ID{}

// Fill stands for a page whose bytes are all b. It is stored nowhere.
func Fill(b byte) ID { return ID{14: 1, 15: b} }

// FillByte returns the byte of a Fill id.
func (id ID) FillByte() (b byte, ok bool) {
	return id[15], id == ID{14: 1, 15: id[15]}
}

// Stored reports whether the id is that of stored content, neither Absent nor
// a Fill.
func (id ID) Stored() bool {
	_, fill := id.FillByte()
	return id != Absent && !fill
}

func (id ID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText writes an id in hex.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads an id in hex.
func (id *ID) UnmarshalText(b []byte) error {
	if hex.DecodedLen(len(b)) != len(id) {
		return fmt.Errorf("page id of %d characters", len(b))
	}
	_, err := hex.Decode(id[:], b)
	return err
}

// Hasher computes ids. It is for one goroutine.
type Hasher struct{ h *blake3.Hasher }

// NewHasher returns one for a 32-byte key.
func NewHasher(key []byte) (Hasher, error) {
	h, err := blake3.NewKeyed(key)
	return Hasher{h}, err
}

// Sum returns the id of some bytes.
func (h Hasher) Sum(b []byte) ID {
	var id ID
	h.h.Reset()
	_, _ = h.h.Write(b)                      // never fails
	_, _ = io.ReadFull(h.h.Digest(), id[:])  // never ends
	if binary.BigEndian.Uint64(id[:]) == 0 { // one in 2^64: not mistakable for a Fill
		id[0] = 1
	}
	return id
}

// FillOf returns the Fill id of b if all of its bytes are the same.
func FillOf(b []byte) (ID, bool) {
	if len(b) == 0 {
		return ID{}, false
	}
	// Eight bytes at a time, and the usual page is not uniform at its start.
	w := uint64(b[0]) * 0x0101010101010101
	i := 0
	for ; i+8 <= len(b); i += 8 {
		if binary.LittleEndian.Uint64(b[i:]) != w {
			return ID{}, false
		}
	}
	for ; i < len(b); i++ {
		if b[i] != b[0] {
			return ID{}, false
		}
	}
	return Fill(b[0]), true
}
