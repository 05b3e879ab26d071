package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"syscall"

	"github.com/snapline/snapline"
)

// keptSuffix is what the name of a disk that a restore keeps aside ends in.
const keptSuffix = ".snapline-before"

// KeptPath is where a restore keeps the disk that it replaces, until its VM is
// let go of: a second name (hard link) of the old file in the same directory.
func KeptPath(path string) string { return path + keptSuffix }

// NewDisk is a disk to be written, and what is to be on it.
type NewDisk struct {
	Target
	Extents iter.Seq2[snapline.Extent, error]
}

// Exchange is the disks of one VM that a restore has put in the place of older
// ones. Use Undo or Done; without either the older disks stay beside the new
// ones, for the next restore to find, and when that has exchanged them neither
// does anything any more. Not for several goroutines.
type Exchange struct {
	store  *Store
	record exchangeRecord
	placed []bool // by disk of the record
}

// Exchange writes the disks of the VM of a QMP socket, which must be dead, and
// then exchanges them all for what is at their paths. Symbolic links are
// followed, and stay. Target.Replace is implied; a file that is replaced passes
// on its owner and mode. After an error all paths are as they were. ErrInUse: a
// process has one of the old disks open. *KeptError: see there.
func (s *Store) Exchange(ctx context.Context, qmp string, disks []NewDisk) (_ *Exchange, err error) {
	x := &Exchange{store: s, placed: make([]bool, len(disks))}
	x.record.QMP = qmp
	old, err := readExchange(s.dir, qmp)
	if err != nil {
		return nil, err
	}
	var temps []string
	defer func() {
		for _, temp := range temps {
			err = errors.Join(err, removeIfThere(temp))
		}
		for _, d := range x.record.Disks {
			s.unclaim(d.Path)
		}
	}()
	for i := range disks {
		d := &disks[i]
		if d.Path, err = realPath(d.Path); err != nil {
			return nil, err
		}
		if !s.claim(d.Path) {
			return nil, fmt.Errorf("disk %s: another disk is being restored to the same path", d.Path)
		}
		x.record.Disks = append(x.record.Disks, exchanged{Path: d.Path})
		if err := examine(ctx, old, d, &x.record.Disks[i]); err != nil {
			return nil, err
		}
	}
	for i, d := range disks {
		temp, err := d.make(ctx, d.Extents)
		if err != nil {
			return nil, err
		}
		temps = append(temps, temp)
		made, err := identify(temp)
		if err != nil {
			return nil, err
		}
		x.record.Disks[i].Ours = append(x.record.Disks[i].Ours, made)
	}
	s.at("written")
	s.setLast(x)
	if err := x.record.write(s.dir); err != nil {
		return nil, err
	}
	s.at("recorded")
	for i := range disks {
		if err := x.place(i, temps[i]); err != nil {
			return nil, errors.Join(err, x.Undo())
		}
	}
	return x, nil
}

// examine looks at what is where a disk is to go, and takes over its owner and
// mode.
func examine(ctx context.Context, old exchangeRecord, d *NewDisk, e *exchanged) error {
	var err error
	if e.Before, err = old.before(d.Path); err != nil {
		return err
	}
	now, err := identify(d.Path)
	if nonexistent(err) != nil {
		return err
	}
	there := err == nil
	if there {
		if err := checkUnused(ctx, d.Path, "raw"); err != nil {
			return err
		}
	}
	path := d.Path
	switch e.Before {
	case beforeNone, beforeKept:
		if there {
			e.Ours = append(e.Ours, now)
		}
		if e.Before == beforeNone {
			return nil
		}
		path = KeptPath(path)
	case beforeThere:
		// What is kept aside all the same is of a restore that was finished but for
		// this.
		if !sameFile(path, KeptPath(path)) {
			if err := errors.Join(removeIfThere(KeptPath(path)), syncDir(filepath.Dir(path))); err != nil {
				return err
			}
		}
	}
	st, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return fmt.Errorf("%s is not a plain file", path)
	}
	if owner, ok := st.Sys().(*syscall.Stat_t); ok {
		d.UID, d.GID = int(owner.Uid), int(owner.Gid)
	}
	d.Mode = st.Mode().Perm()
	return nil
}

// place gives a new disk its name. What was there keeps another one.
func (x *Exchange) place(disk int, temp string) error {
	d := x.record.Disks[disk]
	if d.Before == beforeThere {
		err := os.Link(d.Path, KeptPath(d.Path))
		if err != nil && !sameFile(d.Path, KeptPath(d.Path)) {
			return fmt.Errorf("keep old disk: %w", err)
		}
		x.store.at("kept")
	}
	x.placed[disk] = true
	if err := os.Rename(temp, d.Path); err != nil {
		return err
	}
	x.store.at("placed")
	return syncDir(filepath.Dir(d.Path))
}

// Resuming notes that the VM is about to run: from now on the new disks count,
// unless Undo says otherwise.
func (x *Exchange) Resuming() error {
	if len(x.record.Disks) == 0 {
		return nil
	}
	if !x.isLast() {
		return errors.New("a later restore has exchanged its disks")
	}
	x.record.Resumed = true
	return x.record.write(x.store.dir)
}

// Undo puts the older disks back; the VM must be dead. Again it does what is
// left of that.
func (x *Exchange) Undo() error {
	if !x.isLast() {
		return nil
	}
	var all []error
	for i, d := range x.record.Disks {
		if !x.placed[i] {
			continue
		}
		if err := putBack(d); err != nil {
			all = append(all, fmt.Errorf("put the old disk back to %s: %w", d.Path, err))
			continue
		}
		x.placed[i] = false
	}
	if err := errors.Join(all...); err != nil {
		return err
	}
	return x.record.remove(x.store.dir)
}

func putBack(d exchanged) error {
	var err error
	switch kept := KeptPath(d.Path); {
	case d.Before == beforeNone:
		err = removeIfThere(d.Path)
	case sameFile(d.Path, kept): // a rename would do nothing (rename(2))
		err = removeIfThere(kept)
	default:
		err = os.Rename(kept, d.Path)
	}
	return errors.Join(err, syncDir(filepath.Dir(d.Path)))
}

// Done gives the older disks up. Again it does what is left of that.
func (x *Exchange) Done() error {
	if !x.isLast() {
		return nil
	}
	return x.record.giveUp(x.store.dir)
}

// setLast takes what there is at the disks' paths, and the record, from the
// exchange before.
func (s *Store) setLast(x *Exchange) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last[x.record.QMP] = x
}

func (x *Exchange) isLast() bool {
	x.store.mu.Lock()
	defer x.store.mu.Unlock()
	return x.store.last[x.record.QMP] == x
}

// realPath follows symbolic links; the file itself need not exist.
func realPath(path string) (string, error) {
	real, err := filepath.EvalSymlinks(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return real, err
	}
	if _, err := os.Lstat(path); err == nil {
		return "", fmt.Errorf("%s is a symbolic link to nothing", path)
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	return filepath.Join(dir, filepath.Base(path)), err
}

func sameFile(a, b string) bool {
	one, err := identify(a)
	if err != nil {
		return false
	}
	two, err := identify(b)
	return err == nil && one.sameFile(two)
}

func removeIfThere(path string) error { return nonexistent(os.Remove(path)) }

// nonexistent drops the error that something is not there.
func nonexistent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
