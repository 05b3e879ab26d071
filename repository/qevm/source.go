package qevm

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// source reads a stream and knows how far it is. The first error stays.
type source struct {
	r   *bufio.Reader
	at  int64
	err error
	// keep, if not nil, gets a copy of all that is read.
	keep *[]byte
}

// next returns the next n bytes, good until the next call; n is at most the
// buffer's size. After an error the bytes are zero.
func (s *source) next(n int) []byte {
	if s.err != nil {
		return make([]byte, n)
	}
	b, err := s.r.Peek(n)
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("%w: %w", ErrMalformed, io.ErrUnexpectedEOF)
		}
		s.err = err
		return make([]byte, n)
	}
	if s.keep != nil {
		*s.keep = append(*s.keep, b...)
	}
	_, _ = s.r.Discard(n) // they are there
	s.at += int64(n)
	return b
}

func (s *source) u8() byte    { return s.next(1)[0] }
func (s *source) u32() uint32 { return binary.BigEndian.Uint32(s.next(4)) }
func (s *source) u64() uint64 { return binary.BigEndian.Uint64(s.next(8)) }

// name is a string after its length in one byte.
func (s *source) name() string { return string(s.next(int(s.u8()))) }

// peek returns the next byte without taking it, and false at the stream's end.
func (s *source) peek() (byte, bool) {
	if s.err != nil {
		return 0, false
	}
	b, err := s.r.Peek(1)
	if err != nil {
		if !errors.Is(err, io.EOF) {
			s.err = err
		}
		return 0, false
	}
	return b[0], true
}

func (s *source) fail(kind error, format string, args ...any) {
	if s.err == nil {
		s.err = fmt.Errorf("%w: %s", kind, fmt.Sprintf(format, args...))
	}
}
