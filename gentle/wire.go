package gentle

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/snapline/snapline"
)

// What the agent sends a worker: a request as a line of JSON, then frames, of
// which the last says that it was the last. A worker answers with a line of
// JSON. A frame is a byte of its kind, and of 8 bytes each, little-endian, where
// it belongs and how long it is; the data follow where there are some.
const (
	frameData   = 'd'
	frameZeros  = 'z' // of a disk
	frameEnd    = 'e'
	frameBroken = 'b' // the source had an error
	frameHead   = 17
	// maxData is what one frame may carry, in bytes.
	maxData = 1 << 20
	// maxLine bounds requests and answers, in bytes.
	maxLine = 64 << 10
)

// request says what is to be stored.
type request struct {
	Repository string              `json:"repository"` // its id
	Snapshot   snapline.SnapshotID `json:"snapshot"`
	Member     snapline.MemberName `json:"member"`
	// Disk is empty for a stream.
	Disk string `json:"disk,omitempty"`
	Size int64  `json:"size,omitempty"` // of the disk
}

// answer says what came of it.
type answer struct {
	Object snapline.Object `json:"object"`
	Error  string          `json:"error,omitempty"`
	// Kind is one of kinds, or empty.
	Kind string `json:"kind,omitempty"`
}

// kinds are the errors that callers tell apart.
var kinds = map[string]error{"exists": snapline.ErrExists, "not found": snapline.ErrNotFound, "damaged": snapline.ErrDamaged, "given up": snapline.ErrGivenUp}

// answerOf makes err something that can be sent.
func answerOf(o snapline.Object, err error) answer {
	if err == nil {
		return answer{Object: o}
	}
	a := answer{Error: err.Error()}
	for kind, is := range kinds {
		if errors.Is(err, is) {
			a.Kind = kind
		}
	}
	return a
}

// remoteError is what a worker has said.
type remoteError struct {
	text string
	is   error
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error { return e.is }

func (a answer) err() error {
	if a.Error == "" {
		return nil
	}
	return &remoteError{a.Error, kinds[a.Kind]}
}

// sender writes frames.
type sender struct{ w io.Writer }

func (s sender) frame(kind byte, offset, length int64, data []byte) error {
	head := make([]byte, frameHead)
	head[0] = kind
	binary.LittleEndian.PutUint64(head[1:], uint64(offset))
	binary.LittleEndian.PutUint64(head[9:], uint64(length))
	if _, err := s.w.Write(head); err != nil {
		return err
	}
	_, err := s.w.Write(data)
	return err
}

// sourceError is an error of what is to be stored, not of the way to the worker.
type sourceError struct{ error }

func (e sourceError) Unwrap() error { return e.error }

// stream sends all that r has.
func (s sender) stream(r io.Reader) error {
	buf := make([]byte, maxData)
	for {
		n, err := io.ReadFull(r, buf)
		if n > 0 {
			if err := s.frame(frameData, 0, int64(n), buf[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return s.frame(frameEnd, 0, 0, nil)
		}
		if err != nil {
			return errors.Join(sourceError{err}, s.frame(frameBroken, 0, 0, nil))
		}
	}
}

// extents sends a disk's, in pieces that a frame can carry.
func (s sender) extents(all iter.Seq2[snapline.Extent, error]) error {
	for e, err := range all {
		if err == nil && e.Data != nil && int64(len(e.Data)) != e.Length {
			err = fmt.Errorf("extent of %d bytes with %d", e.Length, len(e.Data)) // pieces would hide it
		}
		if err != nil {
			return errors.Join(sourceError{err}, s.frame(frameBroken, 0, 0, nil))
		}
		if e.Data == nil {
			if err := s.frame(frameZeros, e.Offset, e.Length, nil); err != nil {
				return err
			}
			continue
		}
		for at := int64(0); at < int64(len(e.Data)); at += maxData {
			piece := e.Data[at:min(at+maxData, int64(len(e.Data)))]
			if err := s.frame(frameData, e.Offset+at, int64(len(piece)), piece); err != nil {
				return err
			}
		}
	}
	return s.frame(frameEnd, 0, 0, nil)
}

// receiver reads a request and its frames.
type receiver struct {
	r    *bufio.Reader
	buf  []byte // the last frame's data
	left []byte // what Read has not given out yet
	end  error
}

func newReceiver(r io.Reader) *receiver { return &receiver{r: bufio.NewReaderSize(r, maxLine)} }

func (r *receiver) request() (q request, err error) {
	line, err := r.r.ReadSlice('\n') // longer than the buffer is an error
	if err != nil {
		return q, fmt.Errorf("read request: %w", err)
	}
	if err := json.Unmarshal(line, &q); err != nil {
		return q, fmt.Errorf("read request: %w", err)
	}
	return q, nil
}

// next returns the next frame as an extent; io.EOF after the last one. Its data
// are valid until the next call.
func (r *receiver) next() (snapline.Extent, error) {
	var e snapline.Extent
	if r.end != nil {
		return e, r.end
	}
	e, r.end = r.read()
	return e, r.end
}

func (r *receiver) read() (e snapline.Extent, err error) {
	var head [frameHead]byte
	if _, err := io.ReadFull(r.r, head[:]); err != nil {
		return e, fmt.Errorf("what is to be stored was broken off: %w", err)
	}
	e.Offset, e.Length = int64(binary.LittleEndian.Uint64(head[1:])), int64(binary.LittleEndian.Uint64(head[9:]))
	switch head[0] {
	case frameEnd:
		return e, io.EOF
	case frameBroken:
		return e, errors.New("what is to be stored cannot be read")
	case frameZeros:
		return e, nil
	case frameData:
	default:
		return e, fmt.Errorf("frame of unknown kind 0x%02x", head[0])
	}
	if e.Length <= 0 || e.Length > maxData {
		return e, fmt.Errorf("frame of %d bytes", e.Length)
	}
	if r.buf == nil {
		r.buf = make([]byte, maxData)
	}
	e.Data = r.buf[:e.Length]
	if _, err := io.ReadFull(r.r, e.Data); err != nil {
		return e, fmt.Errorf("what is to be stored was broken off: %w", err)
	}
	return e, nil
}

// Read makes the frames of a stream one again.
func (r *receiver) Read(p []byte) (int, error) {
	for len(r.left) == 0 {
		e, err := r.next()
		if err != nil {
			return 0, err
		}
		if e.Data == nil {
			return 0, errors.New("a stream has no zeros")
		}
		r.left = e.Data
	}
	n := copy(p, r.left)
	r.left = r.left[n:]
	return n, nil
}

// extents yields those of a disk.
func (r *receiver) extents() iter.Seq2[snapline.Extent, error] {
	return func(yield func(snapline.Extent, error) bool) {
		for {
			e, err := r.next()
			if err == io.EOF { // itself: one that wraps it says that the rest is missing
				return
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}
