package cli

import (
	"iter"

	"github.com/snapline/snapline"
)

// layered is a disk as a guest sees it: the extents of the file above, and those
// of the file below wherever there are none. Both come in order; what of the
// lower file lies behind size, the disk's, is not there.
func layered(above, below iter.Seq2[snapline.Extent, error], size int64) iter.Seq2[snapline.Extent, error] {
	return func(yield func(snapline.Extent, error) bool) {
		next, stop := iter.Pull2(below)
		defer stop()
		l := &lower{next: next, size: size}
		for e, err := range above {
			if err != nil {
				yield(e, err)
				return
			}
			if !l.until(e.Offset, yield) || !yield(e, nil) {
				return
			}
			l.skip(e.Offset + e.Length)
		}
		l.until(size, yield)
	}
}

// lower gives out the lower file's extents piece by piece.
type lower struct {
	next func() (snapline.Extent, error, bool)
	size int64
	cur  snapline.Extent // what is left of the present one
	at   int64           // where the upper file's last extent ends
	end  bool
}

// until yields what lies between the upper file's last extent and that offset;
// false when the consumer has had enough or there was an error.
func (l *lower) until(offset int64, yield func(snapline.Extent, error) bool) bool {
	for {
		if err := l.fill(); err != nil {
			yield(snapline.Extent{}, err)
			return false
		}
		if l.end || l.cur.Offset >= offset {
			return true
		}
		piece := cut(l.cur, l.cur.Offset, min(offset, l.cur.Offset+l.cur.Length))
		l.cur = cut(l.cur, piece.Offset+piece.Length, l.cur.Offset+l.cur.Length)
		if !yield(piece, nil) {
			return false
		}
	}
}

// skip says that the upper file holds everything before that offset.
func (l *lower) skip(offset int64) { l.at = offset }

// fill gets the next extent that is not hidden.
func (l *lower) fill() error {
	for !l.end {
		end := min(l.cur.Offset+l.cur.Length, l.size)
		if from := max(l.cur.Offset, l.at); from < end {
			l.cur = cut(l.cur, from, end)
			return nil
		}
		e, err, ok := l.next()
		if err != nil {
			return err
		}
		l.cur, l.end = e, !ok
	}
	return nil
}

// cut is the part of an extent between two offsets within it.
func cut(e snapline.Extent, from, to int64) snapline.Extent {
	part := snapline.Extent{Offset: from, Length: to - from}
	if e.Data != nil {
		part.Data = e.Data[from-e.Offset : to-e.Offset]
	}
	return part
}
