package cli

import (
	"bytes"
	"errors"
	"iter"
	"testing"

	"pgregory.net/rapid"

	"github.com/snapline/snapline"
)

// imageExtents are those of a small disk: a dot is no extent, '0' zeros, a letter data.
func imageExtents(image string, pieces []int) iter.Seq2[snapline.Extent, error] {
	return func(yield func(snapline.Extent, error) bool) {
		for at, i := 0, 0; at < len(image); i++ {
			end := at + 1
			for end < len(image) && image[end] == image[at] && end-at < pieces[i%len(pieces)] {
				end++
			}
			e := snapline.Extent{Offset: int64(at), Length: int64(end - at)}
			if image[at] != '0' {
				e.Data = []byte(image[at:end])
			}
			if image[at] != '.' && !yield(e, nil) {
				return
			}
			at = end
		}
	}
}

// TestLayered compares with a disk that is put together byte by byte.
func TestLayered(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pieces := rapid.SliceOfN(rapid.IntRange(1, 9), 1, 4).Draw(t, "pieces")
		above := rapid.StringMatching(`[.0ab]{0,60}`).Draw(t, "above")
		below := rapid.StringMatching(`[.0cd]{0,60}`).Draw(t, "below")
		want := make([]byte, len(above))
		for i := range want {
			if i < len(below) && below[i] != '.' && below[i] != '0' {
				want[i] = below[i]
			}
			if above[i] != '.' {
				want[i] = above[i]
			}
			if above[i] == '0' {
				want[i] = 0
			}
		}
		got := make([]byte, len(above))
		end := int64(0)
		for e, err := range layered(imageExtents(above, pieces), imageExtents(below, pieces[:1]), int64(len(above))) {
			if err != nil {
				t.Fatal(err)
			}
			if e.Offset < end || e.Length <= 0 || e.Offset+e.Length > int64(len(above)) || e.Data != nil && int64(len(e.Data)) != e.Length {
				t.Fatalf("extent of %d bytes at %d after %d", e.Length, e.Offset, end)
			}
			end = e.Offset + e.Length
			copy(got[e.Offset:end], e.Data)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("%q over %q is %q, want %q", above, below, got, want)
		}
	})
}

func TestLayeredErrors(t *testing.T) {
	broken := errors.New("broken")
	fail := func(yield func(snapline.Extent, error) bool) { yield(snapline.Extent{}, broken) }
	for name, l := range map[string]iter.Seq2[snapline.Extent, error]{
		"above": layered(fail, imageExtents("aaaa", []int{2}), 4),
		"below": layered(imageExtents("..aa", []int{2}), fail, 4),
	} {
		n := 0
		for _, err := range l {
			n++
			if !errors.Is(err, broken) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if n != 1 {
			t.Errorf("%s: %d were yielded", name, n)
		}
	}
}
