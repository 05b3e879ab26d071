package repo

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/snapline/snapline"
)

// TestAlteredData flips every bit of a stored stream, cuts it at every length
// and lengthens it: no reader may see io.EOF.
func TestAlteredData(t *testing.T) {
	stream := []byte(strings.Repeat("the state of n1, ", 20) + "its end")
	r, s := stored(t, stream)
	o := s.Members[0].Object
	path := r.dataFile(id, "n1")
	alter(t, path, func(name string) {
		_, err := readAll(t.Context(), r, o)
		if !errors.Is(err, snapline.ErrDamaged) {
			t.Fatalf("%s: read = %v, want ErrDamaged", name, err)
		}
		if !strings.Contains(err.Error(), "n1 of etcd-7") {
			t.Fatalf("%s: %q does not say of what", name, err)
		}
		if err := r.Verify(t.Context(), id, "n1", o); !errors.Is(err, snapline.ErrDamaged) {
			t.Fatalf("%s: Verify = %v, want ErrDamaged", name, err)
		}
	})
	if got, err := readAll(t.Context(), r, o); err != nil || !bytes.Equal(got, stream) {
		t.Errorf("the original: %v", err)
	}
}

// TestAlteredRecord does the same to a record.
func TestAlteredRecord(t *testing.T) {
	r, s := stored(t, []byte("state"))
	alter(t, r.recordFile(id), func(name string) {
		if _, err := r.Snapshot(t.Context(), id); !errors.Is(err, snapline.ErrDamaged) {
			t.Fatalf("%s: Snapshot = %v, want ErrDamaged", name, err)
		}
	})
	if got, err := r.Snapshot(t.Context(), id); err != nil || got.ID != s.ID {
		t.Errorf("the original: %v", err)
	}
}

// alter calls check for every alteration of a file, and mends it afterwards.
func alter(t *testing.T, path string, check func(name string)) {
	t.Helper()
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	try := func(name string, content []byte) {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		check(name)
	}
	for i := range good {
		for bit := range 8 {
			bad := bytes.Clone(good)
			bad[i] ^= 1 << bit
			try(fmt.Sprintf("byte %d, bit %d", i, bit), bad)
		}
		try(fmt.Sprintf("cut after %d bytes", i), good[:i])
	}
	try("one byte more", append(bytes.Clone(good), 0))
	try("twice", append(bytes.Clone(good), good...))
	try("other data", bytes.Repeat([]byte{0x28}, len(good)))
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestTrailingBytes has a digest that covers bytes after the frame that the
// decompressor has no use for: they are hashed, and are not a stream.
func TestTrailingBytes(t *testing.T) {
	r, s := stored(t, []byte("state"))
	path := r.dataFile(id, "n1")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	skippable := []byte{0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 'h', 'i'} // RFC 8878, 3.1.2
	if err := os.WriteFile(path, append(good, skippable...), 0o600); err != nil {
		t.Fatal(err)
	}
	o := s.Members[0].Object
	o.StoredBytes += int64(len(skippable))
	if _, err := readAll(t.Context(), r, o); !errors.Is(err, snapline.ErrDamaged) {
		t.Errorf("read = %v, want ErrDamaged", err)
	}
}

func TestListWithDamagedRecord(t *testing.T) {
	r, s := stored(t, []byte("state"))
	write(t, r.recordFile("etcd-8"), "{}")
	renamed, err := os.ReadFile(r.recordFile(id))
	if err != nil {
		t.Fatal(err)
	}
	write(t, r.recordFile("etcd-9"), string(renamed)) // sound, but another's
	write(t, r.recordRoot()+"/README.json", "not ours")
	write(t, r.recordRoot()+"/.tmp-1", "not finished")
	list, err := r.List(t.Context())
	if len(list) != 1 || list[0].ID != s.ID {
		t.Errorf("List = %d snapshots, want %s only", len(list), s.ID)
	}
	if !errors.Is(err, snapline.ErrDamaged) || !strings.Contains(err.Error(), "etcd-8") || !strings.Contains(err.Error(), `record of "etcd-7"`) || strings.Contains(err.Error(), "README") {
		t.Errorf("List = %v", err)
	}
	if err := r.Delete(t.Context(), "etcd-8"); err != nil {
		t.Errorf("Delete of a damaged snapshot: %v", err)
	}
}

func TestNewerRecord(t *testing.T) {
	r, _ := stored(t, []byte("state"))
	write(t, r.recordFile(id), string(seal([]byte(`{"format":2,"id":"etcd-7","group":"of another kind"}`))))
	_, err := r.Snapshot(t.Context(), id)
	if err == nil || errors.Is(err, snapline.ErrDamaged) || !strings.Contains(err.Error(), "newer snapline") {
		t.Errorf("Snapshot = %v", err)
	}
}

func TestCommitRefusesOtherText(t *testing.T) {
	r := create(t)
	o, err := r.Put(t.Context(), id, "n1", bytes.NewReader(nil))
	if err != nil {
		t.Fatal(err)
	}
	s := record(id, o)
	s.Members[0].VM.Args = []string{"-name", "caf\xe9"}
	if err := r.Commit(t.Context(), s); err == nil || !strings.Contains(err.Error(), `caf\xe9`) {
		t.Errorf("Commit = %v, want an error about the argument", err)
	}
}

func FuzzDecodeRecord(f *testing.F) {
	good, err := os.ReadFile("testdata/format1/snapshots/etcd-7.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(seal([]byte("null")))
	f.Add(seal([]byte(`{"format":1,"id":"etcd-7","members":[{}]}`)))
	f.Fuzz(func(t *testing.T, file []byte) {
		for _, b := range [][]byte{file, seal(file)} {
			s, err := decodeRecord(id, b)
			if err != nil {
				continue
			}
			if s.ID != id || checkRecord(s) != nil {
				t.Errorf("an unsound record was accepted: %+v", s)
			}
			again, err := encodeRecord(s)
			if err != nil {
				t.Fatalf("a record that was read cannot be written: %v", err)
			}
			if _, err := decodeRecord(id, again); err != nil {
				t.Fatalf("a record that was read cannot be read again: %v", err)
			}
		}
	})
}

func FuzzDecodeConfig(f *testing.F) {
	f.Add([]byte(`{"format":1,"id":"J5TE7VVNP3XCBCMPSSO7N5A5GM","created":"2026-07-01T12:00:00Z"}`))
	f.Add([]byte(`{"format":2}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := decodeConfig(b); err == nil && (c.Format != format || !idRE.MatchString(c.ID)) {
			t.Errorf("an unsound config was accepted: %+v", c)
		}
	})
}
