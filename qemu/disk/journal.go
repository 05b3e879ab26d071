package disk

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// journal is one VM's file of steps. Each line is the CRC-32C of an entry in
// hexadecimal, a blank, and the entry in JSON. The first line is on disk
// before anything is done; whatever a crash has left of the last is ignored.
type journal struct {
	path string
	plan plan

	mu   sync.Mutex
	file *os.File
	at   []progress // by disk
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// journalPath is the journal of the VM that listens at a QMP socket.
func journalPath(dir, qmp string) string {
	sum := sha256.Sum256([]byte(qmp))
	return filepath.Join(dir, hex.EncodeToString(sum[:8])+".journal")
}

// create writes a new journal. It fails with errPending when there is one.
func create(dir string, p plan) (*journal, error) {
	path := journalPath(dir, p.QMP)
	line, err := encodeEntry(entry{Plan: &p})
	if err != nil {
		return nil, err
	}
	temp := path + ".new"
	if err := writeDurably(temp, line); err != nil {
		return nil, fmt.Errorf("disk journal: %w", err)
	}
	defer os.Remove(temp)
	if err := os.Link(temp, path); errors.Is(err, os.ErrExist) {
		return nil, errPending
	} else if err != nil {
		return nil, fmt.Errorf("disk journal: %w", err)
	}
	if err := syncDir(dir); err != nil {
		return nil, fmt.Errorf("disk journal: %w", err)
	}
	return open(path)
}

// open reads a journal and makes it ready for more steps. os.ErrNotExist: there
// is none.
func open(path string) (*journal, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	p, at, whole, err := decodeJournal(b)
	if err != nil {
		return nil, fmt.Errorf("disk journal %s: %w", path, err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return nil, fmt.Errorf("disk journal: %w", err)
	}
	if err := f.Truncate(int64(whole)); err != nil { // what a crash has left of a line
		f.Close()
		return nil, fmt.Errorf("disk journal: %w", err)
	}
	return &journal{path: path, plan: p, file: f, at: at}, nil
}

// note appends a step without waiting for the disk.
func (j *journal) note(disk int, s step, base *identity) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	e := entry{Disk: disk, Step: s, Base: base}
	line, err := encodeEntry(e)
	if err != nil {
		return err
	}
	if _, err := j.file.Write(line); err != nil {
		return fmt.Errorf("disk journal: %w", err)
	}
	j.at[disk].apply(e)
	return nil
}

// sync waits until all steps so far are on disk.
func (j *journal) sync() error {
	if err := j.file.Sync(); err != nil {
		return fmt.Errorf("disk journal: %w", err)
	}
	return nil
}

// record is note and sync.
func (j *journal) record(disk int, s step, base *identity) error {
	if err := j.note(disk, s, base); err != nil {
		return err
	}
	return j.sync()
}

func (j *journal) progress(disk int) progress {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.at[disk]
}

// close keeps the file.
func (j *journal) close() { j.file.Close() }

// remove is for when nothing is left to be recovered.
func (j *journal) remove() error {
	j.file.Close()
	if err := os.Remove(j.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("disk journal: %w", err)
	}
	return syncDir(filepath.Dir(j.path))
}

func encodeEntry(e entry) ([]byte, error) {
	b, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("disk journal: %w", err)
	}
	return fmt.Appendf(nil, "%08x %s\n", crc32.Checksum(b, castagnoli), b), nil
}

// decodeJournal returns the plan, where each disk has got to, and the length of
// the part that is whole.
func decodeJournal(b []byte) (plan, []progress, int, error) {
	var p plan
	var at []progress
	whole := 0
	for {
		line, _, found := bytes.Cut(b[whole:], []byte("\n"))
		e, ok := decodeEntry(line)
		if !found || !ok {
			break
		}
		switch {
		case whole == 0 && e.Plan != nil && e.Plan.valid():
			p, at = *e.Plan, make([]progress, len(e.Plan.Disks))
			for i := range at {
				at[i].step = prepared
			}
		case whole == 0:
			return p, nil, 0, errors.New("it does not begin with a plan of this version")
		case e.Disk < 0 || e.Disk >= len(at):
			return p, nil, 0, fmt.Errorf("no disk %d in its plan", e.Disk)
		default:
			at[e.Disk].apply(e)
		}
		whole += len(line) + 1
	}
	if at == nil {
		return p, nil, 0, errors.New("it is empty or damaged")
	}
	return p, at, whole, nil
}

func decodeEntry(line []byte) (entry, bool) {
	var e entry
	if len(line) < 10 || line[8] != ' ' {
		return e, false
	}
	sum, err := strconv.ParseUint(string(line[:8]), 16, 32)
	if err != nil || uint32(sum) != crc32.Checksum(line[9:], castagnoli) {
		return e, false
	}
	return e, json.Unmarshal(line[9:], &e) == nil
}

func writeDurably(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close())
}

// syncDir makes creations, renames and removals in dir durable.
func syncDir(dir string) error {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	defer unix.Close(fd)
	if err := unix.Fsync(fd); err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return nil
}
