package repo

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/snapline/snapline"
)

// Options say how to open a repository.
type Options struct {
	// Create makes a new repository when the directory is missing or empty. Two
	// processes may do so at once; both get the same one.
	Create bool
}

// Open opens the repository in a directory. An error says what to do about it.
// A Repository holds nothing open and needs no closing.
func Open(dir string, o Options) (*Repository, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("repository %s: %w", dir, err)
	}
	c, err := readConfig(dir)
	if errors.Is(err, fs.ErrNotExist) {
		c, err = initialise(dir, o)
	}
	if err != nil {
		return nil, fmt.Errorf("repository %s: %w", dir, err)
	}
	r := &Repository{dir: dir, id: c.ID}
	if err := r.usable(); err != nil {
		return nil, fmt.Errorf("repository %s: %w", dir, err)
	}
	return r, nil
}

// usable finds out now what would otherwise end a snapshot under way.
func (r *Repository) usable() error {
	for _, d := range []string{r.dataRoot(), r.recordRoot()} {
		switch err := unix.Faccessat(unix.AT_FDCWD, d, unix.R_OK|unix.W_OK|unix.X_OK, unix.AT_EACCESS); {
		case err == nil:
		case errors.Is(err, unix.EROFS):
			return fmt.Errorf("its file system is read-only; mount it for writing: %w", err)
		case errors.Is(err, unix.EACCES):
			return fmt.Errorf("this user must not write %s; run as its owner or change its mode: %w", d, err)
		case errors.Is(err, unix.ENOENT):
			return fmt.Errorf("%s is missing; restore it from a copy: %w", d, snapline.ErrDamaged)
		default:
			return fmt.Errorf("%s: %w", d, err)
		}
	}
	return nil
}

// initialise makes a repository of a directory without a config. The config
// comes last: with it the repository exists, whole.
func initialise(dir string, o Options) (config, error) {
	if err := vacant(dir, o); err != nil {
		// Another process may have made it between our two looks.
		if c, again := readConfig(dir); again == nil {
			return c, nil
		}
		return config{}, err
	}
	for _, d := range []string{filepath.Join(dir, dataName), filepath.Join(dir, recordName)} {
		if err := mkdir(d); err != nil {
			return config{}, fmt.Errorf("create: %w", err)
		}
	}
	if err := createConfig(dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return config{}, fmt.Errorf("create: %w", err)
	}
	return readConfig(dir) // ours, or that of whoever was first
}

// vacant reports why dir cannot become a repository, and makes it if missing.
func vacant(dir string, o Options) error {
	if o.Create {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("create: %w", err)
		}
		if err := syncDir(filepath.Dir(dir)); err != nil {
			return fmt.Errorf("create: %w", err)
		}
	}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("there is no such directory; is its file system mounted?")
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !ours(dir, e) {
			return fmt.Errorf("not a repository, and not empty (%q is there); choose another directory", e.Name())
		}
	}
	if !o.Create {
		return errors.New("not a repository: it has no config.json; is the right file system mounted?")
	}
	return nil
}

// ours reports whether an entry is one that a creation, interrupted or under
// way in another process, or mkfs leaves.
func ours(dir string, e fs.DirEntry) bool {
	switch name := e.Name(); {
	case strings.HasPrefix(name, tmpPrefix), name == "lost+found":
		return true
	case name == dataName, name == recordName:
		inside, err := os.ReadDir(filepath.Join(dir, name))
		return err == nil && len(inside) == 0
	}
	return false
}
