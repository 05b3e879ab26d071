package pack

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/snapline/snapline/repository/page"
	"github.com/snapline/snapline/repository/seal"
)

// sample is a pack with a frame of each kind.
func sample(t testing.TB, m *seal.Master, c *Codec) ([]byte, Contents, [][]byte) {
	t.Helper()
	w := NewWriter(m, nil)
	pages, nodes := bytes.Repeat([]byte("page"), 3*page.Size/4), bytes.Repeat([]byte("node"), NodeSize/4)
	w.Add(Pages, []page.ID{{1}, {2}, {3}}, c.Compress(nil, pages))
	w.Add(Nodes, []page.ID{{4}}, c.Compress(nil, nodes))
	b, contents := w.Finish()
	return b, contents, [][]byte{pages, nodes}
}

func codec(t testing.TB) *Codec {
	t.Helper()
	c, err := NewCodec(1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestPack(t *testing.T) {
	m, c := seal.NewMaster(), codec(t)
	b, contents, objects := sample(t, m, c)
	if id, err := seal.ParseHeader(b, seal.PackMagic); err != nil || id != contents.ID {
		t.Fatalf("header: %x, %v", id, err)
	}
	offset, length, err := FooterRange(int64(len(b)), b[len(b)-TrailerSize:])
	if err != nil {
		t.Fatal(err)
	}
	got, err := OpenFooter(m, contents.ID, int64(len(b)), offset, b[offset:][:length])
	if err != nil || fmt.Sprint(got) != fmt.Sprint(contents) {
		t.Fatalf("footer %+v, want %+v; %v", got, contents, err)
	}
	for i, f := range got.Frames {
		o, err := c.Open(nil, m.AEAD(contents.ID[:]), f.Kind, f.Offset, bytes.Clone(b[f.Offset:][:f.Length]))
		if err != nil || !bytes.Equal(o, objects[i]) {
			t.Errorf("frame %d: %d bytes, %v", i, len(o), err)
		}
		other := Nodes + Pages - f.Kind
		if _, err := c.Open(nil, m.AEAD(contents.ID[:]), other, f.Offset, bytes.Clone(b[f.Offset:][:f.Length])); err == nil {
			t.Errorf("frame %d opens as another kind", i)
		}
	}
	index := SealIndex(m, "index/x", []Contents{contents, contents})
	list, err := OpenIndex(m, "index/x", index)
	if err != nil || fmt.Sprint(list) != fmt.Sprint([]Contents{contents, contents}) {
		t.Errorf("index %+v, %v", list, err)
	}
	if _, err := OpenIndex(m, "index/y", index); err == nil {
		t.Error("an index opens under another name")
	}
}

func TestNewerVersion(t *testing.T) {
	h := seal.Header(seal.PackMagic, seal.NewSalt())
	h[7] = '2'
	if _, err := seal.ParseHeader(h, seal.PackMagic); err != seal.ErrNewer {
		t.Errorf("a newer pack: %v", err)
	}
}

// FuzzFooter gets the text of footers as they are after decryption.
func FuzzFooter(f *testing.F) {
	_, c, _ := sample(f, seal.NewMaster(), codec(f))
	f.Add(appendFrames(nil, c.Frames))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := decodeFooter(ID{}, 1<<20, text)
		if err == nil && !bytes.Equal(appendFrames(nil, c.Frames), text) {
			t.Error("a footer that was read is written otherwise")
		}
	})
}

// FuzzIndex gets the text of indexes.
func FuzzIndex(f *testing.F) {
	_, c, _ := sample(f, seal.NewMaster(), codec(f))
	f.Add(encodeIndex([]Contents{c, c}))
	f.Fuzz(func(t *testing.T, text []byte) {
		packs, err := decodeIndex(text)
		if err == nil && !bytes.Equal(encodeIndex(packs), text) {
			t.Error("an index that was read is written otherwise")
		}
	})
}

// FuzzFrame gets what is in a frame after decryption.
func FuzzFrame(f *testing.F) {
	c := codec(f)
	m := seal.NewMaster()
	aead := m.AEAD([]byte("fuzz"))
	f.Add(c.Compress(nil, make([]byte, 4*page.Size)))
	f.Fuzz(func(t *testing.T, packed []byte) {
		sealed := aead.Seal(nil, seal.Nonce(32), packed, Pages.aad())
		b, err := c.Open(nil, aead, Pages, 32, sealed)
		if err == nil && (len(b)%page.Size != 0 || len(b) > FrameObjects*page.Size) {
			t.Errorf("a frame of %d bytes was accepted", len(b))
		}
	})
}
