package trust_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/trust"
)

func TestInitLeavesPrivateFiles(t *testing.T) {
	s := newSite(t, trust.AuthorityOptions{})
	if st, err := os.Stat(s.dir); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("folder: %v, %v", st.Mode(), err)
	}
	files, err := os.ReadDir(s.dir)
	must(t, err)
	if len(files) != 1 { // the seed was forgotten
		t.Errorf("files %v", files)
	}
	for _, f := range files {
		if st, err := f.Info(); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", f.Name(), st.Mode(), err)
		}
	}
	err = trust.Init(s.dir, "boss", time.Now(), func(*trust.Credential) error { t.Error("called"); return nil })
	if !errors.Is(err, os.ErrExist) {
		t.Errorf("second Init = %v", err)
	}
}

// TestInitIsWholeOrNothing: without a place for the operator's credential there
// must be no authority that nobody can speak for.
func TestInitIsWholeOrNothing(t *testing.T) {
	parent := t.TempDir()
	broken := errors.New("disk full")
	err := trust.Init(filepath.Join(parent, "trust"), "boss", time.Now(), func(*trust.Credential) error { return broken })
	if !errors.Is(err, broken) {
		t.Errorf("Init = %v", err)
	}
	if left, err := os.ReadDir(parent); err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

func TestFilesWithKeysMustBePrivate(t *testing.T) {
	s := newSite(t, trust.AuthorityOptions{})
	path := filepath.Join(t.TempDir(), "credential.pem")
	must(t, s.boss.Write(path))
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
	if err := s.boss.Create(path); !errors.Is(err, os.ErrExist) {
		t.Errorf("Create over a file = %v", err)
	}
	c, err := trust.ReadCredential(path)
	if err != nil || c.Principal() != "user/boss" || c.Fingerprint() != s.ca.Fingerprint() {
		t.Fatalf("%+v, %v", c, err)
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o620, 0o660, 0o644, 0o666} {
		must(t, os.Chmod(path, mode))
		_, err := trust.ReadCredential(path)
		wants(t, err, snapline.CodeRefused)
		if err == nil || !strings.Contains(err.Error(), "not private") {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
	must(t, os.Chmod(filepath.Join(s.dir, "ca.pem"), 0o644))
	_, _, err = trust.Open(s.dir)
	wants(t, err, snapline.CodeRefused)
	must(t, os.Chmod(path, 0o600))
	link := path + ".link"
	must(t, os.Symlink(path, link))
	_, err = trust.ReadCredential(link)
	wants(t, err, snapline.CodeRefused)
	_, err = trust.ReadCredential(filepath.Dir(path))
	wants(t, err, snapline.CodeRefused)
	_, err = trust.ReadCredential(path + ".none")
	if !trust.Missing(err) {
		t.Errorf("no file: %v", err)
	}
	must(t, os.WriteFile(path, []byte("hello"), 0o600))
	_, err = trust.ReadCredential(path)
	wants(t, err, snapline.CodeInvalid)
}

func TestFileOfAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("this test gives a file away: run it as root (sudo -E make test)")
	}
	s := newSite(t, trust.AuthorityOptions{})
	path := filepath.Join(t.TempDir(), "credential.pem")
	must(t, s.boss.Write(path))
	must(t, os.Chown(path, 65534, 65534))
	_, err := trust.ReadCredential(path)
	wants(t, err, snapline.CodeRefused)
}

func TestAuditLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l := trust.NewAuditLog(path)
	if all, err := l.Last(10); err != nil || len(all) != 0 {
		t.Errorf("%v, %v", all, err)
	}
	entry := func(target string) snapline.AuditEntry {
		return snapline.AuditEntry{At: time.Now().UTC().Truncate(time.Second), Who: "user/boss", Action: "take", Target: target, Outcome: "done"}
	}
	must(t, l.Append(entry("a")))
	// A crash in the middle of a line, and what is no line of ours.
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteString(`{"at":"2026-`)
	must(t, errors.Join(err, f.Close()))
	long := entry("b")
	long.Detail = strings.Repeat("x", 1<<20)
	must(t, l.Append(long))
	must(t, l.Append(entry("c")))
	all, err := l.Last(10)
	if err != nil || len(all) != 3 || all[0].Target != "a" || all[1].Target != "b" || all[2] != entry("c") {
		t.Errorf("%+v, %v", all, err)
	}
	if all, err := l.Last(1); err != nil || len(all) != 1 || all[0].Target != "c" {
		t.Errorf("%+v, %v", all, err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 || st.Size() > 4096 {
		t.Errorf("%v %d, %v", st.Mode(), st.Size(), err)
	}
	must(t, os.Rename(path, path+".1")) // as logrotate does
	must(t, l.Append(entry("d")))
	if all, err := l.Last(10); err != nil || len(all) != 1 {
		t.Errorf("%+v, %v", all, err)
	}
}
