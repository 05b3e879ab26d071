package e2e

import (
	"os"
	"testing"
)

// damaged: a snapshot whose files are not what was written is not restored, and
// nobody is stopped for it.
func (f *faults) damaged(t *testing.T) {
	pack, root, disk, record := f.packFile(t), f.rootFile(f.good, "n3"), f.rootFile(f.good, "n3.disk0"), f.recordFile(f.good)
	truncate := func(b []byte) []byte { return b[:len(b)-1] }
	// A pack's end is its own list of what it holds, which an index tells as well.
	halve := func(b []byte) []byte { return b[:len(b)/2] }
	flip := func(b []byte) []byte { b[len(b)/2] ^= 1; return b }
	// Members that were stored at the same time may each have written a page that
	// they share, and one of these copies is never read.
	flipAll := func(b []byte) []byte {
		for i := range b {
			if i%(16<<10) == 8<<10 {
				b[i] ^= 1
			}
		}
		return b
	}
	for _, c := range []struct {
		name  string
		path  string
		spoil func([]byte) []byte
	}{
		{"pack truncated", pack, halve},
		{"pack flipped", pack, flipAll},
		{"pack empty", pack, func([]byte) []byte { return nil }},
		{"pack missing", pack, nil},
		{"root flipped", root, flip},
		{"disk flipped", disk, flip},
		{"disk missing", disk, nil},
		{"record truncated", record, truncate},
		{"record flipped", record, flip},
		{"record empty", record, func([]byte) []byte { return nil }},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := f.pids(t)
			whole := spoil(t, c.path, c.spoil)
			o := f.run(t, "restore", string(f.good), "--json")
			if err := os.WriteFile(c.path, whole, 0o600); err != nil {
				t.Fatal(err)
			}
			o.expect(t, exitDamaged)
			problem := o.problem(t)
			t.Log(problem.Error())
			f.untouched(t, before)
			f.unharmed(t)
		})
	}
}

// spoil changes a file, or removes it, and returns what was in it.
func spoil(t *testing.T, path string, change func([]byte) []byte) []byte {
	t.Helper()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if change == nil {
		err = os.Remove(path)
	} else {
		err = os.WriteFile(path, change(append([]byte(nil), whole...)), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return whole
}
