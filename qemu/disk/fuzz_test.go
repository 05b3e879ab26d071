package disk_test

import (
	"bytes"
	"testing"

	"github.com/snapline/snapline/qemu/disk"
)

func FuzzMap(f *testing.F) {
	f.Add([]byte(`[{ "start": 0, "length": 65536, "depth": 1, "present": true, "zero": false, "data": true, "offset": 327680},
{ "start": 65536, "length": 131072, "depth": 0, "present": true, "zero": true, "data": false}]`))
	f.Add([]byte(`[]`))
	f.Add([]byte(`[{"start":0,"length":9223372036854775807,"depth":0,"offset":-1}]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		const size = 196608
		next, failed := int64(0), false
		for s, err := range disk.MapEntries(bytes.NewReader(b), size, 2) {
			if err != nil {
				failed = true
				continue
			}
			if failed || s.Start != next || s.Length <= 0 || s.Depth < 0 || s.Depth > 1 {
				t.Fatalf("%+v after %d, failed %v", s, next, failed)
			}
			next += s.Length
		}
		if !failed && next != size {
			t.Errorf("a map of %d bytes passes for %d", next, size)
		}
	})
}

// FuzzJournal wants that what is read is a prefix of what was written, and that
// nothing panics.
func FuzzJournal(f *testing.F) {
	whole := disk.WriteJournal("/run/qmp", 3)
	f.Add(whole)
	f.Add(whole[:len(whole)-5])
	f.Add([]byte("00000000 {}\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, at, length, err := disk.DecodeJournal(b)
		if err != nil {
			return
		}
		if length > len(b) || b[length-1] != '\n' || len(at) != len(p.Disks) {
			t.Errorf("%d of %d bytes, %d of %d disks", length, len(b), len(at), len(p.Disks))
		}
		if _, again, n, err := disk.DecodeJournal(b[:length]); err != nil || n != length || len(again) != len(at) {
			t.Errorf("read again: %d bytes, %v", n, err)
		}
	})
}

func FuzzLocalPath(f *testing.F) {
	f.Add(`json:{"driver":"qcow2","file":{"driver":"file","filename":"/a"}}`)
	f.Add("nbd://host/x")
	f.Add("a:b")
	f.Fuzz(func(t *testing.T, name string) {
		if path, err := disk.LocalPath(name, "/dir"); err == nil && path[0] != '/' {
			t.Errorf("%q gives %q", name, path)
		}
	})
}

func TestLocalPath(t *testing.T) {
	for name, want := range map[string]string{
		"/a/b": "/a/b", "b": "/dir/b", "./x:y": "/dir/x:y", "file:c": "/dir/c",
		`json:{"driver":"qcow2","file":{"driver":"file","filename":"/a"}}`: "/a",
	} {
		if got, err := disk.LocalPath(name, "/dir"); err != nil || got != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	for _, name := range []string{
		"nbd:h:1", "nbd+unix:///x", "rbd:pool/x", "iscsi://x", "", "/dev/fdset/1", "json:{",
		`json:{"driver":"raw","offset":512,"file":{"driver":"file","filename":"/a"}}`,
		`json:{"driver":"throttle","file":{"driver":"file","filename":"/a"}}`,
		`json:{"driver":"qcow2","file":{"driver":"nbd","host":"x"}}`,
		`json:{"driver":"host_device","filename":"/dev/sda"}`,
	} {
		if got, err := disk.LocalPath(name, "/dir"); err == nil {
			t.Errorf("%s: no error but %q", name, got)
		}
	}
}
