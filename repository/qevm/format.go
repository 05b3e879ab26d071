package qevm

import (
	"errors"
	"fmt"

	"github.com/snapline/snapline/repository/page"
)

// Section types (savevm.h) and record flags (ram.c).
const (
	typeStart      = 0x01
	typePart       = 0x02
	typeEnd        = 0x03
	typeSubsection = 0x05
	typeConfig     = 0x07
	typeFooter     = 0x7e

	flagZero     = 0x02
	flagMemSize  = 0x04
	flagPage     = 0x08
	flagEOS      = 0x10
	flagContinue = 0x20
	flagMask     = page.Size - 1
)

var magic = [8]byte{'Q', 'E', 'V', 'M', 0, 0, 0, 3}

// ramVersion is the version of the "ram" section since QEMU 1.0.
const ramVersion = 4

// Errors that callers branch on.
var (
	// ErrUnsupported: perhaps a good stream, but with something in it that this
	// package does not know.
	ErrUnsupported = errors.New("unsupported migration stream")
	// ErrMalformed: no QEMU writes this.
	ErrMalformed = errors.New("malformed migration stream")
)

// Is reports whether a stream that begins with these bytes, eight at least, is
// one that Parse is for.
func Is(start []byte) bool { return len(start) >= len(magic) && [8]byte(start) == magic }

// Head is what comes before the pages.
type Head struct {
	// Prologue is the stream up to the RAM section, verbatim.
	Prologue []byte `json:"prologue"`
	// Section and Instance are the RAM section's numbers.
	Section  uint32 `json:"section"`
	Instance uint32 `json:"instance"`
	// Footers: each section is followed by its number.
	Footers bool    `json:"footers"`
	Blocks  []Block `json:"blocks"`
}

// Block is one RAM block: RAM, ROM, or a device's memory.
type Block struct {
	Name  string `json:"name"`
	Bytes int64  `json:"bytes"`
}

// Pages is how many pages the block has; the last may be a part of one.
func (b Block) Pages() int64 { return (b.Bytes + page.Size - 1) / page.Size }

// Limits of what a stream may claim, so that an altered one takes no memory.
const (
	maxBlocks   = 4096
	maxPrologue = 1 << 20
	maxRAM      = 1 << 46 // 64 TiB
)

// Valid reports why the head cannot be one that Parse has returned.
func (h *Head) Valid() error {
	if len(h.Prologue) < len(magic) || !Is(h.Prologue) || len(h.Prologue) > maxPrologue {
		return fmt.Errorf("%w: its prologue", ErrMalformed)
	}
	if len(h.Blocks) > maxBlocks {
		return fmt.Errorf("%w: %d RAM blocks", ErrMalformed, len(h.Blocks))
	}
	var sum int64
	seen := map[string]bool{}
	for _, b := range h.Blocks {
		if len(b.Name) == 0 || len(b.Name) > 255 || seen[b.Name] || b.Bytes < 0 || b.Bytes > maxRAM-sum {
			return fmt.Errorf("%w: RAM block %q of %d bytes", ErrMalformed, b.Name, b.Bytes)
		}
		seen[b.Name] = true
		sum += b.Bytes
	}
	return nil
}

func (h *Head) ramBytes() (sum int64) {
	for _, b := range h.Blocks {
		sum += b.Bytes
	}
	return sum
}
