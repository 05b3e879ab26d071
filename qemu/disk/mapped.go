package disk

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"os/exec"

	"github.com/snapline/snapline"
)

// mapped reads a chain by the map that qemu-img draws of it. The files are
// opened beside a QEMU that holds them, which is right because nobody writes to
// them.
func (l layer) mapped(ctx context.Context) iter.Seq2[snapline.Extent, error] {
	return func(yield yieldFunc) {
		r := chainReader{layer: l, grain: max(l.unit(), snapline.PageSize), copier: copier{ctx: ctx, yield: yield, block: make([]byte, blockSize)}}
		defer r.close()
		if err := r.run(); err != nil && !errors.Is(err, errEnough) {
			yield(snapline.Extent{}, fmt.Errorf("read disk %s: %w", l.files[0].Filename, err))
		}
	}
}

type chainReader struct {
	layer
	copier
	grain  int64      // what extents are multiples of
	open   []*os.File // by depth; nil until needed
	ragged span       // grains of which the layers hold parts only; not yielded yet
	window window
}

// span is a stretch of the disk.
type span struct{ start, end int64 }

func (r *chainReader) run() error {
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	top := r.files[0]
	cmd := exec.CommandContext(ctx, "qemu-img", "map", "--output=json", "-U", "-f", top.Format, top.Filename)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	for s, entryErr := range mapEntries(out, r.size, len(r.files)) {
		if err = entryErr; err == nil {
			err = r.take(s)
		}
		if err != nil {
			break
		}
	}
	if err == nil {
		err = r.flush()
	}
	if err != nil {
		cancel()
	}
	waitErr := cmd.Wait()
	switch {
	case errors.Is(err, errEnough):
		return err
	case r.ctx.Err() != nil:
		return context.Cause(r.ctx)
	case stderr.Len() > 0 && waitErr != nil:
		return toolError(r.ctx, cmd, waitErr, stderr.String())
	case err != nil:
		return err
	}
	return waitErr
}

// take yields what one entry of the map stands for, as far as it is whole
// grains. Where clusters are smaller than a page, or a layer ends within a
// cluster of the one above, the rest of the grain is another layer's, and only
// the chain as a whole can be asked for it.
func (r *chainReader) take(s stretch) error {
	bottom := len(r.files) - 1
	alone := bottom == 0
	if !alone && s.Depth == bottom || !s.Present || alone && (s.Zero || !s.Data) {
		return nil // the backing file's, or nothing
	}
	end := s.Start + s.Length
	first, last := roundUp(s.Start, r.grain, r.size), end-end%r.grain // where whole grains begin and end
	if end == r.size {
		last = end
	}
	if first > s.Start {
		if err := r.touch(s.Start); err != nil {
			return err
		}
	}
	if last > first {
		if err := r.flush(); err != nil {
			return err
		}
		if err := r.whole(s.part(first, last)); err != nil {
			return err
		}
	}
	if end > last && end > first {
		return r.touch(last)
	}
	return nil
}

// touch notes that the grain with that byte is needed.
func (r *chainReader) touch(at int64) error {
	grain := span{at - at%r.grain, roundUp(at+1, r.grain, r.size)}
	switch {
	case r.ragged.end == grain.end:
		return nil
	case r.ragged.end == grain.start && r.ragged.end > r.ragged.start:
		r.ragged.end = grain.end
		return nil
	}
	err := r.flush()
	r.ragged = grain
	return err
}

// flush yields the grains that were touched.
func (r *chainReader) flush() error {
	s := r.ragged
	r.ragged = span{}
	return r.convert(s.start, s.end-s.start)
}

// whole yields a stretch of whole grains.
func (r *chainReader) whole(s stretch) error {
	switch {
	case s.Zero || !s.Data:
		if !r.yield(snapline.Extent{Offset: s.Start, Length: s.Length}, nil) {
			return errEnough
		}
		return nil
	case s.Offset == nil:
		return r.convert(s.Start, s.Length)
	}
	f, err := r.file(s.Depth)
	if err != nil {
		return err
	}
	return r.copy(f, *s.Offset, s.Start, s.Length)
}

func (r *chainReader) file(depth int) (*os.File, error) {
	if r.open == nil {
		r.open = make([]*os.File, len(r.files))
	}
	if r.open[depth] == nil {
		f, err := os.Open(r.files[depth].Filename)
		if err != nil {
			return nil, err
		}
		r.open[depth] = f
	}
	return r.open[depth], nil
}

func (r *chainReader) close() {
	for _, f := range r.open {
		if f != nil {
			f.Close()
		}
	}
	r.window.close()
}

// empty reports whether nothing was ever written to an overlay. One that does
// not exist is empty.
func empty(ctx context.Context, overlay string) (bool, error) {
	if _, err := os.Stat(overlay); errors.Is(err, os.ErrNotExist) {
		return true, nil
	}
	source, err := json.Marshal(map[string]any{
		"driver": "qcow2", "backing": nil,
		"file": map[string]any{"driver": "file", "filename": overlay},
	})
	if err != nil {
		return false, err
	}
	out, err := imageTool(ctx, "map", "--output=json", "-U", "json:"+string(source))
	if err != nil {
		if st, statErr := os.Stat(overlay); statErr == nil && st.Size() == 0 {
			return true, nil // created, and nothing more
		}
		return false, err
	}
	var all []stretch
	if err := json.Unmarshal(out, &all); err != nil {
		return false, fmt.Errorf("disk map of %s: %w", overlay, err)
	}
	for _, s := range all {
		if s.Present {
			return false, nil
		}
	}
	return true, nil
}
