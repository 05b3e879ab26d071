package qemu

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// pipeSize is what a pipe holds: the default of /proc/sys/fs/pipe-max-size. The
// more, the less often the capture and the drain wait for each other.
const pipeSize = 1 << 20

// spool moves a migration stream from a pipe into a new file inside the kernel
// (splice(2)): while a background snapshot runs, the guest's writes wait for
// this end, so it does nothing else.
type spool struct {
	path   string
	file   *os.File
	read   *os.File // our end of the pipe
	write  *os.File // QEMU's end, until it is handed over
	filler int      // bytes in the pipe that are not QEMU's

	bytes   atomic.Int64
	started sync.Once
	done    chan struct{} // closed at the end of the stream
	err     error         // why it ended; valid once done is closed
}

// newSpool makes the file, which replaces an old one, and the pipe.
func newSpool(path string) (*spool, error) {
	// Removed, not truncated: freeing its blocks must not fall into the pause.
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("spool: %w", err)
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	s := &spool{path: path, file: file, done: make(chan struct{})}
	if err := s.pipe(); err != nil {
		s.abort()
		s.remove()
		return nil, fmt.Errorf("spool: %w", err)
	}
	return s, nil
}

func (s *spool) pipe() error {
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return err
	}
	s.read = os.NewFile(uintptr(ends[0]), "capture pipe")
	s.write = os.NewFile(uintptr(ends[1]), "capture pipe")
	return nil
}

// fill leaves no room in the pipe, so that the first write into it blocks until
// start.
func (s *spool) fill() error {
	fd, err := control(s.write)
	if err != nil {
		return err
	}
	page := make([]byte, os.Getpagesize())
	if _, err := unix.FcntlInt(fd, unix.F_SETPIPE_SZ, len(page)); err != nil {
		return fmt.Errorf("spool: shrink pipe: %w", err)
	}
	for {
		n, err := unix.Write(int(fd), page)
		if errors.Is(err, unix.EAGAIN) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("spool: fill pipe: %w", err)
		}
		s.filler += n
	}
}

// handOver closes our copy of QEMU's end, so that QEMU's death ends the stream.
func (s *spool) handOver() {
	s.write.Close()
	s.write = nil
}

// start lets the stream flow. Further calls do nothing.
func (s *spool) start() {
	s.started.Do(func() { go s.drain() })
}

func (s *spool) drain() {
	defer close(s.done)
	s.err = s.copy()
	s.read.Close()
}

// copy moves everything to the file. The pipe is enlarged first: that alone
// makes room, and so wakes a writer that fill has blocked.
func (s *spool) copy() error {
	in, err := s.read.SyscallConn()
	if err != nil {
		return err
	}
	out, err := control(s.file)
	if err != nil {
		return err
	}
	in.Control(func(fd uintptr) {
		unix.FcntlInt(fd, unix.F_SETPIPE_SZ, pipeSize) // refused beyond a user's limit: slower, no more
	})
	if _, err := io.CopyN(io.Discard, s.read, int64(s.filler)); err != nil {
		return err
	}
	for {
		n, err := s.splice(in, out)
		if err == nil && n == 0 { // the end, or a file that takes no more
			n, err = s.copyBlock()
		}
		s.bytes.Add(n)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && !errors.Is(err, unix.EINTR):
			return fmt.Errorf("spool %s: %w", s.path, err)
		}
	}
}

// splice moves what is there, waiting in the runtime's poller if there is
// nothing.
func (s *spool) splice(in syscall.RawConn, out uintptr) (n int64, err error) {
	if readErr := in.Read(func(fd uintptr) bool {
		n, err = unix.Splice(int(fd), nil, int(out), nil, pipeSize, unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
		return !errors.Is(err, unix.EAGAIN)
	}); readErr != nil {
		return 0, readErr
	}
	return max(n, 0), err
}

// copyBlock goes through user space, which tells the end of the stream (io.EOF)
// from a full disk: splice returns 0 for both.
func (s *spool) copyBlock() (int64, error) {
	block := make([]byte, 64<<10)
	n, err := s.read.Read(block)
	if err != nil {
		return 0, err
	}
	written, err := s.file.Write(block[:n])
	return int64(written), err
}

// abort ends the stream from our side; QEMU gets EPIPE. It returns when nothing
// touches the file any more.
func (s *spool) abort() {
	if s.write != nil {
		s.handOver()
	}
	if s.read != nil {
		s.read.Close()
	}
	s.started.Do(func() { close(s.done) })
	<-s.done
}

// remove closes and deletes the file.
func (s *spool) remove() {
	s.file.Close()
	os.Remove(s.path)
}

// control returns f's descriptor without making it blocking, as Fd does. f must
// stay open while it is used.
func control(f *os.File) (uintptr, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	var own uintptr
	err = raw.Control(func(fd uintptr) { own = fd })
	return own, err
}
