package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/qemu/cmdline"
	"github.com/snapline/snapline/qemu/disk"
	"golang.org/x/sys/unix"
)

// captured reports whether a path of the command line is that of a disk, or of
// a file below one, that was captured.
func (p *plan) captured(path string) bool {
	return slices.ContainsFunc(p.disks, func(d snapline.DiskSnapshot) bool {
		return d.Path == path || d.Backing != nil && d.Backing.Path == path
	})
}

// mapHint says how a path that does not suit can be made to.
func mapHint(captured string) string {
	return fmt.Sprintf("create it, or map it: --disk-dir %s=NEW", filepath.Dir(captured))
}

// checkDisks looks at the places of the disks, and at the room for them.
func (p *plan) checkDisks(ctx context.Context, socket string) {
	if len(p.disks) == 0 {
		return
	}
	if err := disk.CheckFormats(ctx, p.disks); err != nil {
		p.refuse("install QEMU's disk tools (package qemu-utils)", "%v", err)
	}
	room := roomNeeded{}
	taken := map[string]string{}
	for _, d := range p.disks {
		path := p.h.dirs.local(d.Path)
		if other, ok := taken[path]; ok {
			p.refuse(mapHint(d.Path), "disks %s and %s would both be %s", other, d.ID, path)
			continue
		}
		taken[path] = d.ID
		p.checkNamed(d.Path, path)
		if p.checkPlace(d.Path, path) {
			p.checkReplaced(socket, d, path)
			room.add(filepath.Dir(path), d.Object.RawBytes)
		}
		if d.Backing != nil {
			p.checkBacking(ctx, d, room)
		}
	}
	for _, r := range room {
		if r.free < r.needed {
			p.refuse("free some, or map disks elsewhere: --disk-dir OLD=NEW",
				"its disks may take %d MiB on the file system of %s, %d MiB are free", ceilMiB(r.needed), r.dir, r.free>>20)
		}
	}
}

func ceilMiB(n int64) int64 { return (n + 1<<20 - 1) >> 20 }

// checkNamed wants a file that moves to be named where it can be changed.
func (p *plan) checkNamed(captured, path string) {
	if path != captured && !cmdline.Mentions(p.opts, p.info.Dir, captured) {
		p.refuse("do not map it, or restart the VM with the disk on its command line",
			"disk %s is not named on the command line, and so cannot be moved to %s", captured, path)
	}
}

// checkPlace looks at the directory.
func (p *plan) checkPlace(captured, path string) bool {
	dir := filepath.Dir(path)
	if st, err := os.Stat(dir); err != nil || !st.IsDir() {
		p.refuse(mapHint(captured), "no directory %s for disk %s", dir, filepath.Base(path))
		return false
	}
	if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
		p.refuse("make it writable, or map it: --disk-dir "+filepath.Dir(captured)+"=NEW", "directory %s for disk %s: %v", dir, filepath.Base(path), err)
		return false
	}
	return true
}

// checkReplaced looks at what is where a disk is to go. The member's own old
// instance may have it open, on whichever host that is: it will be stopped.
func (p *plan) checkReplaced(socket string, d snapline.DiskSnapshot, path string) {
	st, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		if err := p.h.disks.BeforeRestore(socket, path); err != nil {
			p.refuse("", "disk %s: %v", d.ID, err)
		}
		return
	}
	elsewhere := fmt.Sprintf("map it to another place: --disk-dir %s=NEW", filepath.Dir(d.Path))
	if err != nil || !st.Mode().IsRegular() {
		p.refuse(elsewhere, "disk %s: %s is not a plain file", d.ID, path)
		return
	}
	if err := p.h.disks.BeforeRestore(socket, path); err != nil {
		p.refuse("", "disk %s: %v", d.ID, err)
	}
	pid, err := disk.Opener(path, func(pid int) bool { return servesMonitor(pid, socket) })
	switch {
	case err != nil:
		p.refuse("", "disk %s: %v", d.ID, err)
	case pid != 0:
		exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		p.refuse("stop that process, or "+elsewhere, "disk %s: %s is in use by process %d (%s)", d.ID, path, pid, exe)
	}
}

func servesMonitor(pid int, socket string) bool {
	p, err := openProcess(pid)
	if err != nil {
		return true // it has ended
	}
	defer p.release()
	ok, err := p.serves(socket)
	return ok && err == nil
}

// checkBacking looks for the file below a disk, or for room to make it.
func (p *plan) checkBacking(ctx context.Context, d snapline.DiskSnapshot, room roomNeeded) {
	b := d.Backing
	path := p.h.dirs.local(b.Path)
	found, err := p.h.disks.FindBacking(ctx, path, b.Format, b.Digest)
	if err != nil {
		p.refuse("", "disk %s: %v", d.ID, err)
		return
	}
	if !found.Exists && p.checkPlace(b.Path, found.Path) {
		room.add(filepath.Dir(found.Path), b.Object.RawBytes)
	}
}

// roomNeeded is what disks need, by file system.
type roomNeeded map[uint64]*room

type room struct {
	dir          string
	free, needed int64 // bytes
}

// add counts a file. What it replaces gives nothing back yet: it is kept aside.
func (r roomNeeded) add(dir string, bytes int64) {
	var st unix.Stat_t
	var fs unix.Statfs_t
	if unix.Stat(dir, &st) != nil || unix.Statfs(dir, &fs) != nil {
		return // it has gone this moment; Load will say so
	}
	if r[st.Dev] == nil {
		r[st.Dev] = &room{dir: dir, free: int64(fs.Bavail) * fs.Bsize}
	}
	r[st.Dev].needed += bytes
}
