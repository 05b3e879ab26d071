package cli

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/protocol"
)

// traceLimit is after how many bytes a trace file makes room for a new one. One
// old file is kept.
const traceLimit = 8 << 20

// traceFile is where a long-running command writes what its state machines do,
// each event and effect one line, so that a round can be played again when it
// has gone wrong (protocol.PlayTrace). A disk that is slow or full does not hold a
// round up: lines that find no room are counted in the file, and a file that
// cannot be written is reported once and given up.
type traceFile struct {
	path  string
	limit int64
	log   *slog.Logger

	lines chan string
	lost  atomic.Int64
	stop  chan struct{}
	ended chan struct{}

	file *os.File // nil before the first line
	size int64
}

func newTraceFile(path string, limit int64, log *slog.Logger) *traceFile {
	t := &traceFile{path: path, limit: limit, log: log,
		lines: make(chan string, 4096), stop: make(chan struct{}), ended: make(chan struct{})}
	go t.run()
	return t
}

// line adds one line. It does not wait, and may be called from several
// goroutines; after close it does nothing.
func (t *traceFile) line(who string, at snapline.Instant, what any) {
	select {
	case t.lines <- protocol.Line(who, at, what) + "\n":
	default:
		t.lost.Add(1)
	}
}

// close writes what there is and ends the file.
func (t *traceFile) close() {
	close(t.stop)
	<-t.ended
}

func (t *traceFile) run() {
	defer close(t.ended)
	var err error
	for ended := false; !ended && err == nil; {
		select {
		case l := <-t.lines:
			err = t.write(l)
		case <-t.stop:
			for len(t.lines) > 0 && err == nil {
				err = t.write(<-t.lines)
			}
			ended = true
		}
	}
	if err != nil {
		t.log.Warn("no trace of the protocol is written any more", "error", err)
	}
	if t.file != nil {
		t.file.Close()
	}
}

func (t *traceFile) write(line string) error {
	if n := t.lost.Swap(0); n > 0 {
		line = fmt.Sprintf("# %d lines are missing from here on: the disk was too slow\n", n) + line
	}
	if t.file != nil && t.size+int64(len(line)) > t.limit {
		if err := t.file.Close(); err != nil {
			return err
		}
		t.file = nil
		if err := os.Rename(t.path, t.path+".1"); err != nil {
			return err
		}
	}
	if t.file == nil {
		if err := t.open(); err != nil {
			return err
		}
	}
	n, err := t.file.WriteString(line)
	t.size += int64(n)
	return err
}

func (t *traceFile) open() error {
	if err := os.MkdirAll(filepath.Dir(t.path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(t.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return err
	}
	t.file, t.size = f, info.Size()
	return nil
}
