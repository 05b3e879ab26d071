package repo

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/snapline/snapline"
)

func readAll(ctx context.Context, r *Repository, o snapline.Object) ([]byte, error) {
	f, err := r.Open(ctx, id, "n1", o)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(f)
	return b, errors.Join(err, f.Close())
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestOpenRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(t *testing.T, dir string)
		create  bool
		want    string
	}{
		"missing":           {nil, false, "no such directory"},
		"empty, no create":  {func(t *testing.T, dir string) { os.Mkdir(dir, 0o700) }, false, "not a repository"},
		"a file":            {func(t *testing.T, dir string) { write(t, dir, "") }, true, "not a directory"},
		"foreign":           {func(t *testing.T, dir string) { write(t, dir+"/holiday.jpg", "") }, true, "holiday.jpg"},
		"foreign data":      {func(t *testing.T, dir string) { write(t, dir+"/data/x", "") }, true, `"data" is there`},
		"newer":             {func(t *testing.T, dir string) { write(t, dir+"/config.json", `{"format":2}`) }, true, "newer snapline"},
		"no config at all":  {func(t *testing.T, dir string) { write(t, dir+"/config.json", ``) }, true, "damaged"},
		"config without id": {func(t *testing.T, dir string) { write(t, dir+"/config.json", `{"format":1}`) }, true, "damaged"},
		"data lost": {func(t *testing.T, dir string) {
			open(t, dir, Options{Create: true})
			os.Remove(dir + "/snapshots")
		}, true, "snapshots is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "repo")
			if c.prepare != nil {
				c.prepare(t, dir)
			}
			_, err := Open(dir, Options{Create: c.create})
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), dir) {
				t.Errorf("Open = %v, want %q", err, c.want)
			}
		})
	}
}

// TestOpenFinishesCreation: what a process that died while creating leaves.
func TestOpenFinishesCreation(t *testing.T) {
	for name, files := range map[string][]string{
		"nothing":           nil,
		"new file system":   {"lost+found/"},
		"first directory":   {"data/"},
		"both directories":  {"data/", "snapshots/"},
		"unfinished config": {"data/", "snapshots/", ".tmp-123"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "a", "repo")
			for _, f := range files {
				if sub, ok := strings.CutSuffix(f, "/"); ok {
					if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
						t.Fatal(err)
					}
					continue
				}
				write(t, filepath.Join(dir, f), "{")
			}
			first := open(t, dir, Options{Create: true})
			if second := open(t, dir, Options{Create: true}); second.ID() != first.ID() || first.ID() == "" {
				t.Errorf("ids %q and %q", first.ID(), second.ID())
			}
		})
	}
}

func TestCreateIsOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "repo")
	const n = 16
	type result struct {
		r   *Repository
		err error
	}
	results := make(chan result, n)
	for range n {
		go func() {
			r, err := Open(dir, Options{Create: true})
			results <- result{r, err}
		}()
	}
	ids := map[string]bool{}
	for range n {
		g := <-results
		if g.err != nil {
			t.Error(g.err)
			continue
		}
		ids[g.r.ID()] = true
	}
	if len(ids) != 1 {
		t.Errorf("%d repositories were made in one directory", len(ids))
	}
	wantTree(t, dir, "config.json", "data", "snapshots")
}

// TestCreateComesSecond: the repository was made, and used, after we saw that
// there was none.
func TestCreateComesSecond(t *testing.T) {
	r, _ := stored(t, []byte("state"))
	c, err := initialise(r.dir, Options{Create: true})
	if err != nil || c.ID != r.ID() {
		t.Errorf("id %q, %v; want %q", c.ID, err, r.ID())
	}
}

func TestOpenReadOnly(t *testing.T) {
	r := create(t)
	mount(t, func(m mounter) error {
		if err := m.readOnly(r.dir); err != nil {
			return err
		}
		_, err := Open(r.dir, Options{Create: true})
		if !errors.Is(err, syscall.EROFS) || !strings.Contains(err.Error(), "mount it for writing") {
			t.Errorf("Open = %v, want EROFS", err)
		}
		return nil
	})
}
