package dir

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/snapline/snapline/repository/blob"
)

// List walks the folders that the prefix can be in. It holds one folder's names
// at each level in memory.
func (s *Store) List(ctx context.Context, prefix string, each func(name string, size int64) error) error {
	if err := blob.CheckPrefix(prefix); err != nil {
		return err
	}
	folder := prefix[:strings.LastIndexByte(prefix, '/')+1]
	return s.list(ctx, folder, prefix, each)
}

// list goes through one folder: "" or a path with a '/' at its end.
func (s *Store) list(ctx context.Context, folder, prefix string, each func(string, int64) error) error {
	entries, err := os.ReadDir(s.path(folder))
	switch {
	case folder != "" && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR)):
		return nil
	case err != nil:
		return s.failed("list", prefix, err)
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(sortKey(a), sortKey(b)) })
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		name := folder + e.Name()
		if blob.CheckName(name) != nil {
			continue // "~tmp", "lost+found" and other people's things
		}
		if err := s.visit(ctx, e, name, prefix, each); err != nil {
			return err
		}
	}
	return nil
}

// sortKey puts a folder where its blobs belong: "a-b" before "a/b".
func sortKey(e fs.DirEntry) string {
	if e.IsDir() {
		return e.Name() + "/"
	}
	return e.Name()
}

func (s *Store) visit(ctx context.Context, e fs.DirEntry, name, prefix string, each func(string, int64) error) error {
	if e.IsDir() {
		below := name + "/"
		if strings.HasPrefix(below, prefix) || strings.HasPrefix(prefix, below) {
			return s.list(ctx, below, prefix, each)
		}
		return nil
	}
	if !strings.HasPrefix(name, prefix) {
		return nil
	}
	info, err := os.Stat(filepath.Join(s.root, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // deleted meanwhile
	}
	if err != nil {
		return s.failed("list", name, err)
	}
	if !info.Mode().IsRegular() {
		return nil
	}
	return each(name, info.Size())
}
