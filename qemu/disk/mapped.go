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
	"strconv"

	"github.com/snapline/snapline"
	"golang.org/x/sys/unix"
)

// mapped reads a chain by the map that qemu-img draws of it. The files are
// opened beside a QEMU that holds them, which is right because nobody writes to
// them.
func (l layer) mapped(ctx context.Context) iter.Seq2[snapline.Extent, error] {
	return func(yield yieldFunc) {
		r := chainReader{layer: l, copier: copier{ctx: ctx, yield: yield, block: make([]byte, blockSize)}}
		defer r.close()
		if err := r.run(); err != nil && !errors.Is(err, errEnough) {
			yield(snapline.Extent{}, fmt.Errorf("read disk %s: %w", l.files[0].Filename, err))
		}
	}
}

type chainReader struct {
	layer
	copier
	open []*os.File // by depth; nil until needed
}

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

// take yields what one entry of the map stands for.
func (r *chainReader) take(s stretch) error {
	bottom := len(r.files) - 1
	alone := bottom == 0
	switch {
	case !alone && s.Depth == bottom, !s.Present, alone && (s.Zero || !s.Data):
		return nil // the backing file's, or nothing
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
}

// convertSize is how much is decompressed into memory at a time: enough to make
// the start of a process for it not count.
const convertSize = 16 << 20

// convert has qemu-img read what has no place of its own in a file, such as
// compressed clusters.
func (r *chainReader) convert(start, n int64) error {
	for n > 0 {
		part := min(n, convertSize)
		if err := r.convertPart(start, part); err != nil {
			return err
		}
		start, n = start+part, n-part
	}
	return nil
}

func (r *chainReader) convertPart(start, n int64) error {
	fd, err := unix.MemfdCreate("snapline-disk", unix.MFD_CLOEXEC)
	if err != nil {
		return err
	}
	memory := os.NewFile(uintptr(fd), "memfd")
	defer memory.Close()
	source, err := json.Marshal(map[string]any{
		"driver": "raw", "offset": start, "size": n,
		"file": map[string]any{
			"driver": r.files[0].Format,
			"file":   map[string]any{"driver": "file", "filename": r.files[0].Filename},
		},
	})
	if err != nil {
		return err
	}
	const inherited = 3
	cmd := exec.CommandContext(r.ctx, "qemu-img", "convert", "-q", "-U", "-O", "raw", "json:"+string(source), "/proc/self/fd/"+strconv.Itoa(inherited))
	cmd.ExtraFiles = []*os.File{memory}
	if out, err := cmd.CombinedOutput(); err != nil {
		return toolError(r.ctx, cmd, err, string(out))
	}
	return r.copy(memory, 0, start, n)
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
