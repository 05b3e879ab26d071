package pagemap

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/snapline/snapline/repository/page"
)

// Scratch holds a map while it is being made, in any order, in a file without
// a name: 16 bytes a page, 4 MiB for each GiB, none of it on the heap. It is
// for one goroutine.
type Scratch struct {
	f     *os.File
	data  []byte
	pages int64
}

// NewScratch makes an empty map in a directory.
func NewScratch(dir string) (*Scratch, error) {
	f, err := os.CreateTemp(dir, ".map-*")
	if err != nil {
		return nil, err
	}
	return &Scratch{f: f}, os.Remove(f.Name())
}

const idSize = int64(len(page.ID{}))

// minSize is what a map takes at the least, in bytes.
const minSize = 64 << 10

// Grow gives the map that many pages; new ones are absent.
func (s *Scratch) Grow(pages int64) error {
	if pages > MaxPages {
		return fmt.Errorf("a map of %d pages", pages)
	}
	if size := pages * idSize; size > int64(len(s.data)) {
		if err := s.resize(max(size, minSize)); err != nil {
			return fmt.Errorf("page map: %w", err)
		}
	}
	s.pages = max(s.pages, pages)
	return nil
}

// resize finds the space first: a page of a mapping without any is a SIGBUS.
func (s *Scratch) resize(size int64) error {
	if err := unix.Fallocate(int(s.f.Fd()), 0, 0, size); err != nil {
		return &os.PathError{Op: "allocate", Path: s.f.Name(), Err: err}
	}
	if err := s.unmap(); err != nil {
		return err
	}
	var err error
	s.data, err = unix.Mmap(int(s.f.Fd()), 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	return err
}

func (s *Scratch) unmap() error {
	if s.data == nil {
		return nil
	}
	err := unix.Munmap(s.data)
	s.data = nil
	return err
}

// Pages is the length of the map.
func (s *Scratch) Pages() int64 { return s.pages }

// Set says what page i is, and makes the map as long as that takes.
func (s *Scratch) Set(i int64, id page.ID) error {
	if i >= s.pages {
		if (i+1)*idSize > int64(len(s.data)) {
			if err := s.resize(max(2*int64(len(s.data)), (i+1)*idSize, minSize)); err != nil {
				return fmt.Errorf("page map: %w", err)
			}
		}
		s.pages = i + 1
	}
	copy(s.data[i*idSize:], id[:])
	return nil
}

// At returns what page i is.
func (s *Scratch) At(i int64) page.ID { return page.ID(s.data[i*idSize:]) }

// Close gives the space back.
func (s *Scratch) Close() error { return errors.Join(s.unmap(), s.f.Close()) }
