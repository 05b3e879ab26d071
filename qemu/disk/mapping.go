package disk

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
)

// stretch is one entry of "qemu-img map --output=json".
type stretch struct {
	Start   int64  `json:"start"`
	Length  int64  `json:"length"`
	Depth   int    `json:"depth"` // 0: the top file
	Present bool   `json:"present"`
	Zero    bool   `json:"zero"`
	Data    bool   `json:"data"`
	Offset  *int64 `json:"offset"` // in the file of that depth; nil: only QEMU can read it
}

// part is the stretch from start to end.
func (s stretch) part(start, end int64) stretch {
	if s.Offset != nil {
		moved := *s.Offset + start - s.Start
		s.Offset = &moved
	}
	s.Start, s.Length = start, end-start
	return s
}

// mapEntries reads a map as it comes, one entry at a time. It accepts only maps
// without gaps or overlaps that end at size, of no more than depth files.
func mapEntries(r io.Reader, size int64, depth int) iter.Seq2[stretch, error] {
	return func(yield func(stretch, error) bool) {
		d := json.NewDecoder(r)
		if t, err := d.Token(); err != nil || t != json.Delim('[') {
			yield(stretch{}, fmt.Errorf("disk map: no list: %w", orUnexpected(err)))
			return
		}
		next := int64(0)
		for d.More() {
			var s stretch
			if err := d.Decode(&s); err != nil {
				yield(s, fmt.Errorf("disk map: %w", err))
				return
			}
			if s.Start != next || s.Length <= 0 || s.Length > size-next || s.Depth < 0 || s.Depth >= depth || s.Offset != nil && *s.Offset < 0 {
				yield(s, fmt.Errorf("disk map: entry at %d of %d bytes, depth %d, makes no sense at %d of %d", s.Start, s.Length, s.Depth, next, size))
				return
			}
			next += s.Length
			if !yield(s, nil) {
				return
			}
		}
		if t, err := d.Token(); err != nil || t != json.Delim(']') {
			yield(stretch{}, fmt.Errorf("disk map: it breaks off at %d: %w", next, orUnexpected(err)))
			return
		}
		if next != size {
			yield(stretch{}, fmt.Errorf("disk map: it ends at %d, the disk at %d", next, size))
		}
	}
}

// orUnexpected names what is wrong when only the token was.
func orUnexpected(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
