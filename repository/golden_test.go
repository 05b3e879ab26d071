package repository

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/repository/blob/blobtest"
	"github.com/snapline/snapline/repository/blob/dir"
	"github.com/snapline/snapline/repository/page"
	"github.com/snapline/snapline/repository/qevm"
)

var writeGolden = flag.Bool("write-golden", false, "make testdata/format2 anew; docs/FORMAT.md must then be changed too")

const goldenDir = "testdata/format2"

// goldenStream is the stream of a machine of 80 pages that can be made with a
// shell: page i says so, every fourth one is zero.
func goldenStream() []byte {
	h := &qevm.Head{
		Prologue: []byte("QEVM\x00\x00\x00\x03\x07\x00\x00\x00\x0apc-q35-7.2"), Section: 2, Footers: true,
		Blocks: []qevm.Block{{Name: "pc.ram", Bytes: 80 * page.Size}},
	}
	p := qevm.NewPart(qevm.AppendHead(nil, h), h, 0)
	for i := range int64(80) {
		if i%4 == 3 {
			p.Fill(i, 0)
		} else {
			copy(p.Page(i), goldenPage(i))
		}
	}
	return append(p.End(), "\x04the devices"...)
}

func goldenPage(i int64) []byte {
	return bytes.Repeat(fmt.Appendf(nil, "this is page %2d\n", i), page.Size/16)
}

// TestWriteGolden makes the golden repository, once.
func TestWriteGolden(t *testing.T) {
	if !*writeGolden {
		t.Skip("only with -write-golden: what is there must stay readable for ever")
	}
	if err := os.RemoveAll(goldenDir); err != nil {
		t.Fatal(err)
	}
	s, err := dir.Create(filepath.Join(goldenDir, "repository"))
	if err != nil {
		t.Fatal(err)
	}
	content := []byte("0123456789abcdef0123456789abcdef")
	if err := os.WriteFile(filepath.Join(goldenDir, "keyfile"), content, 0o600); err != nil {
		t.Fatal(err)
	}
	key, err := KeyFile(content)
	if err != nil {
		t.Fatal(err)
	}
	if err := Init(t.Context(), s, key); err != nil {
		t.Fatal(err)
	}
	r, err := Open(t.Context(), s, key, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := r.AddKey(t.Context(), "a person", passphrase(t, "correct horse")); err != nil {
		t.Fatal(err)
	}
	if _, err := r.PutDisk(t.Context(), id, "n1", "vda", goldenDisk()); err != nil {
		t.Fatal(err)
	}
	stored(t, r, id, goldenStream())
}

// goldenDisk holds two pages that are in the RAM as well.
func goldenDisk() snapline.DiskContent {
	return snapline.DiskContent{Size: 1 << 20, Extents: extents(data(512<<10, append(goldenPage(0), goldenPage(1)...)))}
}

// TestGolden keeps today's blobs readable for ever, with both kinds of keys.
func TestGolden(t *testing.T) {
	tmp := t.TempDir()
	if err := os.CopyFS(tmp, os.DirFS(goldenDir)); err != nil {
		t.Fatal(err)
	}
	s, err := dir.Open(filepath.Join(tmp, "repository"))
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(tmp, "keyfile"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := KeyFile(content)
	if err != nil {
		t.Fatal(err)
	}
	for name, secret := range map[string]Secret{"key file": key, "passphrase": passphrase(t, "correct horse")} {
		r, err := Open(t.Context(), s, secret, Options{})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		defer r.Close()
		wantStream(t, r, id, goldenStream())
		wantClean(t, r)
		snap, err := r.Snapshot(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if m := snap.Member("n1"); snap.Note != "a <note> & more" || m.VM.Args[3] != "ünï" {
			t.Errorf("the record reads %+v", snap)
		}
		names, err := blobtest.Names(t.Context(), s, rootName(id, "n1."))
		if err != nil || len(names) != 1 {
			t.Fatalf("disks %q, %v", names, err)
		}
		_, o, err := r.anyRoot(t.Context(), id, "n1.vda")
		if err != nil {
			t.Fatal(err)
		}
		b := image(t, r, id, o)
		if len(b) != 1<<20 || !bytes.Equal(b[512<<10:][:4096], goldenPage(0)) || o.RawBytes != 1<<20 {
			t.Errorf("the disk reads otherwise")
		}
	}
}

// TestFormatDocument runs the example of docs/FORMAT.md, which takes the golden
// repository apart with standard tools, and compares what it prints with what
// the document says it prints.
func TestFormatDocument(t *testing.T) {
	for _, tool := range []string{"bash", "openssl", "xxd", "zstd", "b3sum"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%s is missing: make deps", tool)
		}
	}
	doc, err := os.ReadFile("../docs/FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	var script, want strings.Builder
	blocks := strings.Split(string(doc), "\n```")
	for i := 1; i < len(blocks); i += 2 {
		language, text, _ := strings.Cut(blocks[i], "\n")
		if language != "console" {
			continue
		}
		for line := range strings.Lines(text + "\n") {
			if command, ok := strings.CutPrefix(line, "$ "); ok {
				script.WriteString(command)
			} else if more, ok := strings.CutPrefix(line, "> "); ok {
				script.WriteString(more)
			} else {
				want.WriteString(line)
			}
		}
	}
	cmd := exec.Command("bash", "-eu", "-c", script.String())
	cmd.Dir = ".."
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if string(out) != want.String() {
		t.Errorf("the example prints\n%s\nand the document says\n%s", out, want.String())
	}
}

// FuzzRoot and FuzzRecord get what is in the blobs after decryption.
func FuzzRoot(f *testing.F) {
	f.Add([]byte(`{"format":1,"kind":"raw","snapshot":"a-1","object":"n1","raw_bytes":5,"added_bytes":1,"maps":[{"bytes":5,"root":"00112233445566778899aabbccddeeff"}]}`))
	f.Add([]byte(`{"format":1,"kind":"qevm","snapshot":"a-1","object":"n1","raw_bytes":5,"added_bytes":1,"head":{"prologue":"UUVWTQAAAAM=","section":1,"blocks":[{"name":"pc.ram","bytes":4096}]},"maps":[{"bytes":4096,"root":"00000000000000000000000000000100"},{"bytes":0,"root":"00000000000000000000000000000000"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		rt, err := parseRoot(text)
		if err != nil {
			return
		}
		for part := range rt.Maps {
			_ = rt.part(part)
		}
		if rt.Head != nil {
			qevm.AppendHead(nil, rt.Head)
		}
	})
}

func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"format":1,"id":"etcd-7","group":{"group":"etcd"},"members":[{"name":"n1","object":{"digest":"` + strings.Repeat("00", 32) + `"}}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := parseRecord(id, text)
		if err == nil && (s.ID != id || checkRecord(s) != nil) {
			t.Errorf("an unsound record was accepted: %+v", s)
		}
	})
}

func FuzzConfig(f *testing.F) {
	f.Add(wrapConfig([]byte(`{"format":2,"id":"J5TE7VVNP3XCBCMPSSO7N5A5GM","created":"2026-07-01T12:00:00Z"}`)))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, b := range [][]byte{b, wrapConfig(b)} {
			if c, err := decodeConfig(b); err == nil && (c.Format != Format || !idRE.MatchString(c.ID)) {
				t.Errorf("an unsound config was accepted: %+v", c)
			}
		}
	})
}

func FuzzKey(f *testing.F) {
	f.Add([]byte(`{"format":1,"id":"0123456789abcdef","repository":"x","label":"l","created":"2026-07-01T12:00:00Z","kdf":"hkdf-sha256","salt":"AA==","wrapped":"AA=="}` + "\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if k, err := decodeKey(b); err == nil && k.KDF == kdfPassphrase && !k.cost.valid() {
			t.Errorf("an unsound key was accepted: %+v", k)
		}
	})
}

// TestRawFallback: a stream that begins like QEMU's and goes on otherwise is
// stored as it is, if it can be read again from its start; a cut one is not.
func TestRawFallback(t *testing.T) {
	r := create(t, nil)
	strange := append(goldenStream()[:50], bytes.Repeat([]byte("compressed "), 5000)...)
	strange[31-8] = 0x01
	head := []byte("QEVM\x00\x00\x00\x03\x08\x00\x01\x00\x00")
	strange = append(head, strange...)
	o := stored(t, r, "etcd-1", strange)
	if o.RawBytes != int64(len(strange)) {
		t.Errorf("%d bytes of %d", o.RawBytes, len(strange))
	}
	wantStream(t, r, "etcd-1", strange)
	if _, err := r.Put(t.Context(), "etcd-2", "n1", onlyRead{bytes.NewReader(strange)}); err == nil || !strings.Contains(err.Error(), "unsupported") {
		t.Errorf("what cannot be read again: %v", err)
	}
	cut := goldenStream()
	cut = cut[:len(cut)-30]
	if _, err := r.Put(t.Context(), "etcd-2", "n1", bytes.NewReader(cut)); err == nil || !strings.Contains(err.Error(), "malformed") {
		t.Errorf("a cut stream: %v", err)
	}
	if _, err := r.Snapshot(t.Context(), snapline.SnapshotID("etcd-2")); err == nil {
		t.Error("it exists")
	}
}

type onlyRead struct{ r *bytes.Reader }

func (o onlyRead) Read(p []byte) (int, error) { return o.r.Read(p) }
