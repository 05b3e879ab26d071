package disk_test

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/qemu/disk"
)

// filled is a small disk of one repeated byte.
func filled(b byte) iter.Seq2[snapline.Extent, error] {
	return func(yield func(snapline.Extent, error) bool) {
		yield(snapline.Extent{Length: 8192, Data: bytes.Repeat([]byte{b}, 8192)}, nil)
	}
}

// pair is two disks to be restored: one replaces another, one is new.
func pair(dir string, content byte) []disk.NewDisk {
	target := disk.Target{Format: "raw", Size: 8192, Mode: 0o600}
	all := []disk.NewDisk{{Target: target, Extents: filled(content)}, {Target: target, Extents: filled(content)}}
	all[0].Path, all[1].Path = filepath.Join(dir, "old"), filepath.Join(dir, "new")
	return all
}

// oldPair makes the directory with the one that is replaced.
func oldPair(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "old"), []byte("mine"), 0o640), os.Chmod(filepath.Join(dir, "old"), 0o640)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// checkPair wants the disks to begin so ("": not to be there), and nothing else
// in the directory but what is named.
func checkPair(t *testing.T, dir, old, fresh string, kept ...string) {
	t.Helper()
	for name, want := range map[string]string{"old": old, "new": fresh} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if want == "" && !os.IsNotExist(err) || want != "" && !bytes.HasPrefix(b, []byte(want)) {
			t.Errorf("%s begins with %.8q (%v), want %q", name, b, err, want)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := len(kept)
	for _, s := range []string{old, fresh} {
		if s != "" {
			want++
		}
	}
	if len(entries) != want {
		t.Errorf("%d files, want %d: %v", len(entries), want, entries)
	}
}

const socket = "/run/vm.qmp"

// restorer is the victim of the tests below: it exchanges the pair, and kills
// itself at a named step.
//
//	restorer STEP STATE DIR
func restorer(args []string) error {
	s, err := disk.Open(args[1])
	if err != nil {
		return err
	}
	s.At(func(at string) {
		if at == args[0] {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
	})
	ctx := context.Background()
	if _, err := s.PlaceBacking(ctx, backingTarget(args[2]), args[3], filled('b')); err != nil {
		return err
	}
	_, err = s.Exchange(ctx, socket, pair(args[2], '1'))
	return err
}

func backingTarget(dir string) disk.Target {
	return disk.Target{Path: filepath.Join(dir, "base.img"), Format: "raw", Size: 8192, Mode: 0o444}
}

func backingDigest(t *testing.T) string {
	t.Helper()
	sum, err := disk.Digest(8192, filled('b'))
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

func runRestorer(t *testing.T, step, state, dir string) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", "restorer", step, state, dir, backingDigest(t))
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("restorer of step %s: %v: %s", step, err, out)
	}
}

// TestKilledRestore kills a restore at each step. The next one finds what is
// the user's: Undo brings it back, Done gives it up.
func TestKilledRestore(t *testing.T) {
	needTools(t)
	for _, step := range []string{"backing-locked", "backing-written", "backing-linked", "written", "recorded", "kept", "placed"} {
		for _, undo := range []bool{true, false} {
			t.Run(step+map[bool]string{true: "-undo", false: "-done"}[undo], func(t *testing.T) {
				state, dir := t.TempDir(), oldPair(t)
				runRestorer(t, step, state, dir)
				if step != "backing-linked" { // which nobody does twice
					runRestorer(t, step, state, dir)
				}
				s := store(t, state)
				if err := errors.Join(s.FinishRestores(testContext(t)), s.FinishRestores(testContext(t))); err != nil {
					t.Error(err)
				}
				if b, err := os.ReadFile(filepath.Join(dir, "old")); err != nil || string(b) != "mine" {
					t.Errorf("the old disk is not back: %.8q, %v", b, err)
				}
				for _, name := range []string{disk.KeptPath(filepath.Join(dir, "old")), filepath.Join(dir, "new")} {
					if _, err := os.Stat(name); !os.IsNotExist(err) {
						t.Errorf("%s is left: %v", name, err)
					}
				}
				base, err := s.PlaceBacking(testContext(t), backingTarget(dir), backingDigest(t), filled('b'))
				if err != nil {
					t.Fatal(err)
				}
				if err := os.Remove(base); err != nil {
					t.Error(err)
				}
				if left, _ := filepath.Glob(filepath.Join(dir, "*base*")); len(left) > 0 {
					t.Errorf("left: %v", left)
				}
				x, err := s.Exchange(testContext(t), socket, pair(dir, '2'))
				if err != nil {
					t.Fatal(err)
				}
				checkPair(t, dir, "2222", "2222", "kept")
				if undo {
					if err := errors.Join(x.Undo(), x.Undo()); err != nil {
						t.Error(err)
					}
					checkPair(t, dir, "mine", "")
				} else {
					if err := errors.Join(x.Resuming(), x.Done(), x.Done()); err != nil {
						t.Error(err)
					}
					checkPair(t, dir, "2222", "2222")
				}
				if st, err := os.Stat(filepath.Join(dir, "old")); err != nil || st.Mode().Perm() != 0o640 {
					t.Errorf("mode %v, %v", st.Mode(), err)
				}
				if left, _ := filepath.Glob(filepath.Join(state, "*.restore*")); len(left) > 0 {
					t.Errorf("left: %v", left)
				}
			})
		}
	}
}

// touch writes to a disk as a guest does.
func touch(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt([]byte("run"), 0)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestRanOnRestoredDisk has the agent die after the VM was resumed: the disks
// that it runs on are the user's now.
func TestRanOnRestoredDisk(t *testing.T) {
	needTools(t)
	for _, finish := range []bool{false, true} {
		state, dir := t.TempDir(), oldPair(t)
		x, err := store(t, state).Exchange(testContext(t), socket, pair(dir, '1'))
		if err != nil {
			t.Fatal(err)
		}
		if err := x.Resuming(); err != nil {
			t.Fatal(err)
		}
		touch(t, filepath.Join(dir, "old"))
		s := store(t, state)
		if finish {
			if err := s.FinishRestores(testContext(t)); err != nil {
				t.Error(err)
			}
			checkPair(t, dir, "run1", "1111")
		}
		if x, err = s.Exchange(testContext(t), socket, pair(dir, '2')); err != nil {
			t.Fatal(err)
		}
		checkPair(t, dir, "2222", "2222", "kept", "kept")
		if err := x.Undo(); err != nil {
			t.Error(err)
		}
		checkPair(t, dir, "run1", "1111")
	}
}

// TestTwoDisksLeft has somebody start the VM by hand on what a dead restore has
// left: both disks may matter.
func TestTwoDisksLeft(t *testing.T) {
	needTools(t)
	state, dir := t.TempDir(), oldPair(t)
	runRestorer(t, "placed", state, dir)
	path := filepath.Join(dir, "old")
	s := store(t, state)
	if err := s.BeforeRestore(socket, path); err != nil {
		t.Error(err)
	}
	touch(t, path)
	var kept *disk.KeptError
	if err := s.BeforeRestore(socket, path); !errors.As(err, &kept) || kept.Kept != disk.KeptPath(path) {
		t.Errorf("before: %v", err)
	}
	if _, err := s.Exchange(testContext(t), socket, pair(dir, '2')); !errors.As(err, &kept) {
		t.Errorf("exchange: %v", err)
	}
	t.Log(kept)
	if err := s.FinishRestores(testContext(t)); err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(kept.Kept); err != nil || string(b) != "mine" {
		t.Errorf("%q, %v", b, err)
	}
	if b, err := os.ReadFile(path); err != nil || !bytes.HasPrefix(b, []byte("run1")) {
		t.Errorf("%.8q, %v", b, err)
	}
	if err := os.Rename(kept.Kept, path); err != nil { // the user decides
		t.Fatal(err)
	}
	x, err := s.Exchange(testContext(t), socket, pair(dir, '2'))
	if err != nil {
		t.Fatal(err)
	}
	if err := x.Undo(); err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "mine" {
		t.Errorf("%q, %v", b, err)
	}
}

// TestExchangeFails wants everything as it was after an error at the last disk.
func TestExchangeFails(t *testing.T) {
	needTools(t)
	broken := errors.New("broken off")
	for name, spoil := range map[string]func([]disk.NewDisk){
		"stream": func(d []disk.NewDisk) {
			d[1].Extents = func(yield func(snapline.Extent, error) bool) { yield(snapline.Extent{}, broken) }
		},
		"same path":      func(d []disk.NewDisk) { d[1].Path = d[0].Path },
		"no directory":   func(d []disk.NewDisk) { d[1].Path = filepath.Join(filepath.Dir(d[1].Path), "none", "x") },
		"a directory":    func(d []disk.NewDisk) { d[1].Path = filepath.Dir(d[1].Path) },
		"dangling link":  func(d []disk.NewDisk) { d[1].Path = "/proc/self/none" },
		"unknown format": func(d []disk.NewDisk) { d[1].Format = "vmdk" },
	} {
		t.Run(name, func(t *testing.T) {
			state, dir := t.TempDir(), oldPair(t)
			disks := pair(dir, '1')
			spoil(disks)
			s := store(t, state)
			if _, err := s.Exchange(testContext(t), socket, disks); err == nil {
				t.Error("no error")
			}
			checkPair(t, dir, "mine", "")
			if _, err := s.Exchange(testContext(t), socket, pair(dir, '2')); err != nil {
				t.Error(err)
			}
			checkPair(t, dir, "2222", "2222", "kept")
		})
	}
}

// TestExchangeThroughLink replaces what a symbolic link leads to, and refuses
// what a process has open.
// TestLaterExchange has a restore that was abandoned come back when a later one has
// exchanged the same disks: they are not its own any more.
func TestLaterExchange(t *testing.T) {
	for name, late := range map[string]func(*disk.Exchange) error{"undo": (*disk.Exchange).Undo, "done": (*disk.Exchange).Done} {
		t.Run(name, func(t *testing.T) {
			dir := oldPair(t)
			s, err := disk.Open(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			abandoned, err := s.Exchange(t.Context(), socket, pair(dir, 'a'))
			if err != nil {
				t.Fatal(err)
			}
			later, err := s.Exchange(t.Context(), socket, pair(dir, 'b'))
			if err != nil {
				t.Fatal(err)
			}
			if err := late(abandoned); err != nil {
				t.Error(err)
			}
			checkPair(t, dir, "bbbb", "bbbb", "old's")
			if err := abandoned.Resuming(); err == nil {
				t.Error("its machine may run on disks of another one")
			}
			if err := later.Undo(); err != nil {
				t.Fatal(err)
			}
			checkPair(t, dir, "mine", "")
		})
	}
}

func TestExchangeThroughLink(t *testing.T) {
	needTools(t)
	state, dir := t.TempDir(), oldPair(t)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(filepath.Join(dir, "old"), link); err != nil {
		t.Fatal(err)
	}
	disks := pair(dir, '1')
	disks[0].Path = link
	s := store(t, state)
	holder := exec.Command("sleep", "60")
	f, err := os.Open(link)
	if err != nil {
		t.Fatal(err)
	}
	holder.Stdin = f
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	defer holder.Wait()
	defer holder.Process.Kill()
	f.Close()
	if _, err := s.Exchange(testContext(t), socket, disks); !errors.Is(err, disk.ErrInUse) {
		t.Errorf("a disk in use: %v", err)
	}
	checkPair(t, dir, "mine", "")
	holder.Process.Kill()
	holder.Wait()
	disks = pair(dir, '1')
	disks[0].Path = link
	x, err := s.Exchange(testContext(t), socket, disks)
	if err != nil {
		t.Fatal(err)
	}
	checkPair(t, dir, "1111", "1111", "kept")
	if err := x.Undo(); err != nil {
		t.Error(err)
	}
	checkPair(t, dir, "mine", "")
	if st, err := os.Lstat(link); err != nil || st.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is %v, %v", st.Mode(), err)
	}
}

// FuzzRestoreRecord reads anything.
func FuzzRestoreRecord(f *testing.F) {
	f.Add([]byte(`{"format":1,"qmp":"/q","resumed":true,"disks":[{"path":"/d","before":"kept","ours":[{"inode":3}]}]}`))
	f.Add([]byte(`{"format":1,"qmp":"/q","disks":[{"path":"d"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := disk.DecodeRecord(b)
		if err != nil {
			return
		}
		for _, d := range r.Disks {
			if !filepath.IsAbs(d.Path) || d.Before == "" {
				t.Errorf("%+v", d)
			}
		}
	})
}
