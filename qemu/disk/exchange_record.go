package disk

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// before says which file is the one from before all restores.
type before string

const (
	beforeNone  before = "none"
	beforeThere before = "there" // at the disk's path
	beforeKept  before = "kept"  // kept aside already
)

// exchangeRecord is what a restore writes down before it exchanges disks, for
// the next one to tell the user's disks from its own.
type exchangeRecord struct {
	Format  int         `json:"format"`
	QMP     string      `json:"qmp"`
	Resumed bool        `json:"resumed"` // the VM was about to run on them
	Disks   []exchanged `json:"disks"`
}

type exchanged struct {
	Path   string `json:"path"`
	Before before `json:"before"`
	// Ours are what this restore, and those before it that were broken off, have
	// put at the path.
	Ours []identity `json:"ours"`
}

const exchangeFormat = 1

// KeptError says that a restore that was broken off has left two disks that may
// matter: the one at Path, which somebody has written to since, and the one
// from before that restore. Only the user knows which one to keep; both are
// left as they are.
type KeptError struct{ Path, Kept string }

func (e *KeptError) Error() string {
	return fmt.Sprintf("disk %s has been written to since a restore that was broken off put it there, and the disk from before that is still at %s. "+
		"To keep the first: rm %s. To go back to the second: mv %s %s", e.Path, e.Kept, e.Kept, e.Kept, e.Path)
}

func exchangePath(dir, qmp string) string {
	sum := sha256.Sum256([]byte(qmp))
	return filepath.Join(dir, hex.EncodeToString(sum[:8])+".restore")
}

// readExchange returns the record of a restore that was broken off; an empty
// one when there is none.
func readExchange(dir, qmp string) (exchangeRecord, error) {
	return readExchangeFile(exchangePath(dir, qmp))
}

func readExchangeFile(path string) (exchangeRecord, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return exchangeRecord{}, nil
	}
	if err != nil {
		return exchangeRecord{}, fmt.Errorf("restore record: %w", err)
	}
	r, err := decodeExchange(b)
	if err != nil {
		return r, fmt.Errorf("restore record %s: %w; see which disks have a %q beside them, choose, and remove the record", path, err, keptSuffix)
	}
	return r, nil
}

func decodeExchange(b []byte) (exchangeRecord, error) {
	var r exchangeRecord
	if err := json.Unmarshal(b, &r); err != nil {
		return exchangeRecord{}, err
	}
	if r.Format != exchangeFormat || r.QMP == "" {
		return exchangeRecord{}, errors.New("not of this version")
	}
	for _, d := range r.Disks {
		known := d.Before == beforeNone || d.Before == beforeThere || d.Before == beforeKept
		if !known || !filepath.IsAbs(d.Path) {
			return exchangeRecord{}, errors.New("it is damaged")
		}
	}
	return r, nil
}

// write replaces the record durably.
func (r exchangeRecord) write(dir string) error {
	r.Format = exchangeFormat
	b, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("restore record: %w", err)
	}
	path := exchangePath(dir, r.QMP)
	if err := writeDurably(path+".new", b); err != nil {
		return fmt.Errorf("restore record: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("restore record: %w", err)
	}
	return syncDir(dir)
}

func (r exchangeRecord) remove(dir string) error {
	if err := removeIfThere(exchangePath(dir, r.QMP)); err != nil {
		return fmt.Errorf("restore record: %w", err)
	}
	return syncDir(dir)
}

// before finds the file from before all restores for a path, given the record
// of the last one.
func (r exchangeRecord) before(path string) (before, error) {
	now, err := identify(path)
	there := err == nil
	if nonexistent(err) != nil {
		return "", err
	}
	kept, err := identify(KeptPath(path))
	aside := err == nil
	if nonexistent(err) != nil {
		return "", err
	}
	last, known := r.disk(path)
	ran := r.ran()
	copied := known && !ran && slices.Contains(last.Ours, now) // the copy of a snapshot, and no more
	switch {
	case aside && (!there || copied):
		return beforeKept, nil
	case !there, copied && last.Before == beforeNone:
		return beforeNone, nil
	case !aside, now.sameFile(kept), known && ran:
		return beforeThere, nil
	}
	return "", &KeptError{Path: path, Kept: KeptPath(path)}
}

func (r exchangeRecord) disk(path string) (exchanged, bool) {
	for _, d := range r.Disks {
		if d.Path == path {
			return d, true
		}
	}
	return exchanged{}, false
}

// giveUp removes the disks that were kept aside, and the record.
func (r exchangeRecord) giveUp(dir string) error {
	var all []error
	for _, d := range r.Disks {
		err := removeIfThere(KeptPath(d.Path))
		if err == nil {
			err = nonexistent(syncDir(filepath.Dir(d.Path)))
		}
		if err != nil {
			all = append(all, fmt.Errorf("give up old disk: %w", err))
		}
	}
	if err := errors.Join(all...); err != nil {
		return err
	}
	return r.remove(dir)
}

// BeforeRestore reports what would keep a restore from replacing a disk of the
// VM of a QMP socket: a *KeptError, or what is wrong with the record.
func (s *Store) BeforeRestore(qmp, path string) error {
	r, err := readExchange(s.dir, qmp)
	if err != nil {
		return err
	}
	if path, err = realPath(path); err != nil {
		return nonexistent(err) // a missing directory is somebody else's matter
	}
	_, err = r.before(path)
	return err
}

// FinishRestores finishes what restores of earlier lives have left: what was kept
// aside is given up where the VM has run on the new disks, and put back where it
// never was let run. Disks that a process has open, and those of a *KeptError, are
// left as they are.
func (s *Store) FinishRestores(ctx context.Context) error {
	paths, err := filepath.Glob(filepath.Join(s.dir, "*.restore"))
	all := []error{err}
	for _, path := range paths {
		r, err := readExchangeFile(path)
		if err == nil && r.ran() {
			err = r.giveUp(s.dir)
		} else if err == nil && !r.Resumed {
			err = r.putBack(ctx, s.dir)
		}
		all = append(all, err)
	}
	return errors.Join(all...)
}

// putBack puts the disks from before all restores back: what is in their place is
// the copy of a snapshot that no VM has run on.
func (r exchangeRecord) putBack(ctx context.Context, dir string) error {
	for i := range r.Disks {
		d := &r.Disks[i]
		if err := nonexistent(checkUnused(ctx, d.Path, "raw")); errors.Is(err, ErrInUse) {
			return nil
		} else if err != nil {
			return err
		}
		var both *KeptError
		var err error
		if d.Before, err = r.before(d.Path); errors.As(err, &both) {
			return nil // BeforeRestore tells
		} else if err != nil {
			return err
		}
	}
	for _, d := range r.Disks {
		if _, err := identify(KeptPath(d.Path)); d.Before == beforeThere && err != nil {
			continue // this one was not exchanged yet
		}
		if err := putBack(d); err != nil {
			return fmt.Errorf("put the old disk back to %s: %w", d.Path, err)
		}
	}
	return r.remove(dir)
}

// ran reports whether the VM has run on the new disks: it was about to, and one
// was written to.
func (r exchangeRecord) ran() bool {
	if !r.Resumed {
		return false
	}
	for _, d := range r.Disks {
		now, err := identify(d.Path)
		if err != nil {
			continue
		}
		for _, own := range d.Ours {
			if now.sameFile(own) && now != own {
				return true
			}
		}
	}
	return false
}
