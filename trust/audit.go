package trust

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/snapline/snapline"
)

// maxEntry bounds one line of the audit log, in bytes.
const maxEntry = 8 << 10

// AuditLog is a file of JSON lines, oldest first. It is opened for each line, so
// that it can be moved away while the coordinator runs. It is safe for use from
// several goroutines.
type AuditLog struct {
	path string
	mu   sync.Mutex
}

// NewAuditLog returns the log in that file, which need not exist.
func NewAuditLog(path string) *AuditLog { return &AuditLog{path: path} }

// Append writes one entry durably.
func (l *AuditLog) Append(e snapline.AuditEntry) error {
	e.Detail = clip(e.Detail, 1000)
	e.Target = clip(e.Target, 200)
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	f, err := os.OpenFile(l.path, os.O_RDWR|os.O_CREATE|os.O_APPEND|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	// A line that a full disk or a crash cut off is ended, so that it spoils none
	// but itself.
	end, err := f.Seek(0, io.SeekEnd)
	last := []byte{'\n'}
	if err == nil && end > 0 {
		_, err = f.ReadAt(last, end-1)
	}
	if err == nil && last[0] != '\n' {
		line = append([]byte{'\n'}, line...)
	}
	if err == nil {
		_, err = f.Write(append(line, '\n'))
	}
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	return nil
}

// Last returns the latest n entries, oldest first. Lines that are damaged are
// left out.
func (l *AuditLog) Last(n int) ([]snapline.AuditEntry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := []snapline.AuditEntry{}
	f, err := os.Open(l.path)
	if Missing(err) {
		return out, nil
	}
	if err != nil {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	defer f.Close()
	// The end of the file has the latest; entries have some hundred bytes.
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	from := max(0, end-int64(n)*maxEntry)
	if _, err := f.Seek(from, io.SeekStart); err != nil {
		return nil, err
	}
	r := bufio.NewReaderSize(f, maxEntry)
	for skip := from > 0; ; skip = false {
		line, err := r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) { // no line of ours
			continue
		}
		var e snapline.AuditEntry
		if !skip && json.Unmarshal(bytes.TrimSpace(line), &e) == nil && !e.At.IsZero() {
			out = append(out, e)
			if len(out) > n {
				out = out[1:]
			}
		}
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("audit log: %w", err)
		}
	}
}

// clip shortens a text that somebody else wrote.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}
