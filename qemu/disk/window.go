package disk

import (
	"encoding/json"
	"os"
	"os/exec"
	"strconv"

	"golang.org/x/sys/unix"
)

// window is a part of the disk as the guest sees it, in memory.
type window struct {
	span
	memory *os.File
}

func (w *window) close() {
	if w.memory != nil {
		w.memory.Close()
	}
	*w = window{}
}

// convertSize is how much is decompressed into memory at a time: enough to make
// the start of a process for it not count.
const convertSize = 16 << 20

// convert has qemu-img read what has no place of its own in a file, such as
// compressed clusters. What is asked for comes in order, so nothing is read
// twice.
func (r *chainReader) convert(start, n int64) error {
	for n > 0 {
		if start < r.window.start || start >= r.window.end {
			if err := r.look(start); err != nil {
				return err
			}
		}
		part := min(n, r.window.end-start)
		if err := r.copy(r.window.memory, start-r.window.start, start, part); err != nil {
			return err
		}
		start, n = start+part, n-part
	}
	return nil
}

// look opens a window.
func (r *chainReader) look(start int64) error {
	r.window.close()
	n := min(convertSize, r.size-start)
	fd, err := unix.MemfdCreate("snapline-disk", unix.MFD_CLOEXEC)
	if err != nil {
		return err
	}
	memory := os.NewFile(uintptr(fd), "memfd")
	r.window = window{span{start, start + n}, memory}
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
		r.window.close()
		return toolError(r.ctx, cmd, err, string(out))
	}
	return nil
}
