package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/snapline/snapline/lab/topology"
)

// Down ends and removes everything of the lab, its folder included.
func (l *Lab) Down(ctx context.Context) error { return Down(ctx, l.Name) }

// Down ends and removes everything of a lab, whatever state it or its remains
// are in, and whichever process made it. No lab of that name is success.
// ErrBusy when another process is at it.
func Down(ctx context.Context, name string) error {
	if err := topology.CheckName(name); err != nil {
		return err
	}
	unlock, err := lock(name)
	if err != nil {
		return err
	}
	defer unlock()
	return down(ctx, name)
}

func down(ctx context.Context, name string) error {
	if err := topology.Down(ctx, name); err != nil {
		return fmt.Errorf("take down lab %s: %w", name, err)
	}
	// The folder last: what is left of a lab can be found as long as it exists.
	entry := filepath.Join(DefaultRoot, name)
	if dir, err := os.Readlink(entry); err == nil {
		if err := removeOwn(dir); err != nil {
			return fmt.Errorf("take down lab %s: %w", name, err)
		}
	}
	if err := os.RemoveAll(entry); err != nil {
		return fmt.Errorf("take down lab %s: %w", name, err)
	}
	return nil
}

// removeOwn removes a folder that a lab's entry links to, if it is a lab's: it
// has the record, or is as empty as Up made it.
func removeOwn(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, "lab.json")); err == nil {
		return os.RemoveAll(dir)
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Leftovers lists what there is of a lab: its folder, namespaces, and the
// processes inside them. After Down it is empty.
func Leftovers(name string) ([]string, error) {
	left, err := topology.Leftovers(name)
	if err != nil {
		return left, err
	}
	entry := filepath.Join(DefaultRoot, name)
	if _, err := os.Lstat(entry); err == nil {
		left = append(left, "folder "+entry)
	}
	return left, nil
}
