package blob

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// Limits of names. A part must fit a Linux file name (NAME_MAX is 255 bytes);
// a name leaves room for a prefix in an S3 key (1,024 bytes).
const (
	MaxPart = 255
	MaxName = 700
)

// CheckName says what is wrong with a blob's name, see Store. No valid name
// leaves the folder that it is used in: no part is "." or "..", none is empty.
func CheckName(name string) error {
	if name == "" {
		return errors.New("a blob needs a name")
	}
	if len(name) > MaxName {
		return fmt.Errorf("blob name %.40q… has %d bytes; %d is the most", name, len(name), MaxName)
	}
	for part := range strings.SplitSeq(name, "/") {
		switch {
		case part == "", part == ".", part == "..":
			return fmt.Errorf("blob name %q: it must not have a part %q", name, part)
		case len(part) > MaxPart:
			return fmt.Errorf("blob name %q: its part %.40q… has %d bytes; %d is the most", name, part, len(part), MaxPart)
		}
	}
	return checkLetters(name)
}

// CheckPrefix says what is wrong with a prefix for List: any beginning of a
// name will do, and so will none.
func CheckPrefix(prefix string) error {
	if prefix == "" {
		return nil
	}
	// Whatever a name can go on with after the prefix, an "a" is among it.
	return CheckName(prefix + "a")
}

func checkLetters(name string) error {
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '-', c == '_', c == '.', c == '/':
		default:
			return fmt.Errorf("blob name %q: %q is not one of a-z, A-Z, 0-9, '-', '_', '.', '/'", name, c)
		}
	}
	return nil
}

// CheckPut says what is wrong with the arguments of Put: the name, or a reader
// that does not hold exactly size bytes. It leaves r at its start.
func CheckPut(name string, size int64, r io.ReadSeeker) error {
	if err := CheckName(name); err != nil {
		return err
	}
	end, err := r.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if end != size {
		return fmt.Errorf("the source has %d bytes, not %d", end, size)
	}
	_, err = r.Seek(0, io.SeekStart)
	return err
}

// CheckRange says what is wrong with the arguments of Get.
func CheckRange(name string, off int64) error {
	if off < 0 {
		return fmt.Errorf("blob %q: offset %d", name, off)
	}
	return CheckName(name)
}

// Close lets go of what a store holds open, if anything. No method may be
// called after it.
func Close(s Store) error {
	if c, ok := s.(io.Closer); ok {
		return c.Close()
	}
	return nil
}
