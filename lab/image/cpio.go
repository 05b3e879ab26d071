package image

import (
	"bufio"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"
)

// entry is one file, folder or symbolic link of the initramfs, owned by root.
type entry struct {
	name string // without a leading slash
	mode uint32 // type and permission bits, as in st_mode
	data []byte // contents, or a link's target
}

// Type bits of st_mode, inode(7).
const (
	typeMask = 0o170000
	typeFile = 0o100000
	typeDir  = 0o040000
	typeLink = 0o120000
)

func file(name string, perm uint32, data []byte) entry { return entry{name, typeFile | perm, data} }
func directory(name string) entry                      { return entry{name, typeDir | 0o755, nil} }
func symlink(name, target string) entry                { return entry{name, typeLink | 0o777, []byte(target)} }

// writeInitrd packs the entries into a zstd-compressed archive.
func writeInitrd(path string, entries []entry) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	// One goroutine, because the encoder's output depends on how many there are.
	z, err := zstd.NewWriter(f, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20))
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(z, 1<<16)
	if err := writeArchive(w, entries); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return f.Close()
}

// writeArchive writes the "newc" format that the kernel unpacks
// (Documentation/driver-api/early-userspace/buffer-format.rst): headers of
// ASCII hex, names and contents padded to four bytes. Times are zero, so equal
// entries make equal bytes.
func writeArchive(w io.Writer, entries []entry) error {
	for i, e := range entries {
		if err := writeEntry(w, uint32(i+1), e); err != nil {
			return err
		}
	}
	return writeEntry(w, 0, entry{name: "TRAILER!!!"})
}

func writeEntry(w io.Writer, inode uint32, e entry) error {
	const headerLen = 110
	links := 1
	if e.mode&typeMask == typeDir {
		links = 2
	}
	_, err := fmt.Fprintf(w, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		inode, e.mode, 0, 0, links, 0, len(e.data), 0, 0, 0, 0, len(e.name)+1, 0)
	if err != nil {
		return err
	}
	name := e.name + "\x00"
	if _, err := io.WriteString(w, name+padding(headerLen+len(name))); err != nil {
		return err
	}
	if _, err := w.Write(e.data); err != nil {
		return err
	}
	_, err = io.WriteString(w, padding(len(e.data)))
	return err
}

// padding fills n bytes up to a multiple of four.
func padding(n int) string { return "\x00\x00\x00"[:(4-n%4)%4] }
