package qevm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/snapline/snapline/repository/page"
)

// recorder keeps what Parse says.
type recorder struct {
	head     Head
	pages    map[[2]int64][]byte // nil head: none yet
	epilogue []byte
}

func (r *recorder) Head(h Head) error {
	r.head, r.pages = h, map[[2]int64][]byte{}
	return nil
}

func (r *recorder) Page(block int, index int64, data []byte) error {
	r.pages[[2]int64{int64(block), index}] = bytes.Clone(data)
	return nil
}

func (r *recorder) Fill(block int, index int64, b byte) error {
	return r.Page(block, index, bytes.Repeat([]byte{b}, page.Size))
}

func (r *recorder) Epilogue(in io.Reader) (err error) {
	r.epilogue, err = io.ReadAll(in)
	return err
}

func prologue() []byte {
	return []byte("QEVM\x00\x00\x00\x03\x07\x00\x00\x00\x0apc-q35-7.2")
}

func sampleHead(footers bool) *Head {
	return &Head{
		Prologue: prologue(), Section: 2, Footers: footers,
		Blocks: []Block{{"pc.ram", 16 * page.Size}, {"pc.bios", 2 * page.Size}},
	}
}

// sample is a stream as QEMU would write it: pages out of order, one of them
// twice, both blocks in one section, an END.
func sample(footers bool) []byte {
	h := sampleHead(footers)
	b := AppendHead(nil, h)
	p := NewPart(b, h, 0)
	copy(p.Page(5), bytes.Repeat([]byte("old "), page.Size/4))
	p.Fill(2, 0)
	p.Fill(3, 0xff)
	p.block, p.flags = 1, 0
	copy(p.Page(1), bytes.Repeat([]byte("bios"), page.Size/4))
	b = p.End()
	p = NewPart(b, h, 0)
	copy(p.Page(5), bytes.Repeat([]byte("new "), page.Size/4))
	b = p.End()
	end := NewPart(nil, h, 0)
	end.dst[0] = typeEnd
	b = append(b, h.appendEnd(end.dst)...)
	return append(b, "\x04devices"...)
}

func TestParse(t *testing.T) {
	for _, footers := range []bool{true, false} {
		stream := sample(footers)
		for name, in := range map[string]io.Reader{
			"whole": bytes.NewReader(stream), "byte by byte": iotest.OneByteReader(bytes.NewReader(stream)),
		} {
			var r recorder
			n, err := Parse(in, &r)
			if err != nil || n != int64(len(stream)) {
				t.Fatalf("%s: %d bytes of %d, %v", name, n, len(stream), err)
			}
			if got, want := fmt.Sprintf("%+v", r.head), fmt.Sprintf("%+v", *sampleHead(footers)); got != want {
				t.Errorf("%s: head %s, want %s", name, got, want)
			}
			if string(r.epilogue) != "\x04devices" || len(r.pages) != 4 || string(r.pages[[2]int64{0, 5}][:4]) != "new " {
				t.Errorf("%s: epilogue %q, %d pages", name, r.epilogue, len(r.pages))
			}
		}
	}
}

// rebuild writes what was parsed in the order of pages.
func rebuild(r *recorder) []byte {
	b := AppendHead(nil, &r.head)
	for block, bl := range r.head.Blocks {
		p := NewPart(b, &r.head, block)
		for i := range bl.Pages() {
			data, ok := r.pages[[2]int64{int64(block), i}]
			if !ok {
				continue
			}
			if id, same := page.FillOf(data); same {
				c, _ := id.FillByte()
				p.Fill(i, c)
			} else {
				copy(p.Page(i), data)
			}
		}
		b = p.End()
	}
	return append(b, r.epilogue...)
}

func TestRebuild(t *testing.T) {
	for _, footers := range []bool{true, false} {
		var first, second recorder
		if _, err := Parse(bytes.NewReader(sample(footers)), &first); err != nil {
			t.Fatal(err)
		}
		b := rebuild(&first)
		if _, err := Parse(bytes.NewReader(b), &second); err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(first) != fmt.Sprint(second) {
			t.Error("a rebuilt stream says something else")
		}
		if !bytes.Equal(b, rebuild(&second)) {
			t.Error("a rebuilt stream changes when it is rebuilt")
		}
	}
}

func TestCutStream(t *testing.T) {
	stream := sample(true)
	for n := range len(stream) - len("devices") {
		_, err := Parse(bytes.NewReader(stream[:n]), &recorder{})
		if !errors.Is(err, io.ErrUnexpectedEOF) || !errors.Is(err, ErrMalformed) {
			t.Fatalf("cut after %d bytes: %v", n, err)
		}
	}
	broken := errors.New("the spool broke")
	for n := range len(stream) {
		in := io.MultiReader(bytes.NewReader(stream[:n]), iotest.ErrReader(broken))
		if _, err := Parse(in, &recorder{}); !errors.Is(err, broken) {
			t.Fatalf("broken after %d bytes: %v", n, err)
		}
	}
}

func TestUnsupported(t *testing.T) {
	head := AppendHead(nil, sampleHead(true))
	record := func(w uint64, more string) []byte {
		b := append(slices.Clone(head), typePart, 0, 0, 0, 2)
		return append(binary.BigEndian.AppendUint64(b, w), more...)
	}
	start := len(prologue())
	config := func(sub string) []byte { return append(prologue(), sub...) }
	for name, c := range map[string]struct {
		stream []byte
		kind   error
		text   string
	}{
		"XBZRLE":            {record(0x40, "\x06pc.ram"), ErrUnsupported, "0x40"},
		"compressed":        {record(0x100, "\x06pc.ram"), ErrUnsupported, "0x100"},
		"multifd flush":     {record(0x200, ""), ErrUnsupported, "0x200"},
		"block table again": {record(flagMemSize|4096, ""), ErrUnsupported, "0x4"},
		"another block":     {record(flagPage, "\x05other"), ErrMalformed, "other"},
		"continue nothing":  {record(flagZero|flagContinue, "\x00"), ErrMalformed, "outside"},
		"beyond the block":  {record(16*page.Size|flagZero, "\x06pc.ram\x00"), ErrMalformed, "page 16"},
		"another section":   {append(slices.Clone(head), typePart, 0, 0, 0, 9), ErrUnsupported, "section 9"},
		"wrong footer":      {append(record(flagEOS, ""), typeFooter, 0, 0, 0, 3), ErrMalformed, "footer"},
		"not QEVM":          {[]byte("QEVX\x00\x00\x00\x03........"), ErrMalformed, "begins"},
		"version 2":         {[]byte("QEVM\x00\x00\x00\x02........"), ErrMalformed, "begins"},
		"a command first":   {append(slices.Clone(prologue()), "\x08\x00\x03\x00\x08"...), ErrUnsupported, "0x08"},
		"no RAM first":      {append(slices.Clone(prologue()), "\x01\x00\x00\x00\x01\x05block\x00\x00\x00\x00\x00\x00\x00\x04"...), ErrUnsupported, `"block"`},
		"large pages":       {config("\x05\x1econfiguration/target-page-bits\x00\x00\x00\x01\x00\x00\x00\x0e"), ErrUnsupported, "2^14"},
		"capability":        {config("\x05\x1aconfiguration/capabilities\x00\x00\x00\x01\x00\x00\x00\x01\x0fx-ignore-shared"), ErrUnsupported, "x-ignore-shared"},
		"subsection":        {config("\x05\x03new\x00\x00\x00\x01"), ErrUnsupported, `"new"`},
		"long machine type": {[]byte("QEVM\x00\x00\x00\x03\x07\x7f\x00\x00\x00...."), ErrMalformed, "letters"},
		"too much RAM":      {append(slices.Clone(head[:start+17]), 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xf0, 0x04), ErrMalformed, "bytes of RAM"},
	} {
		_, err := Parse(bytes.NewReader(c.stream), &recorder{})
		if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v; want %q", name, err, c.text)
		}
	}
	for _, good := range []string{"\x05\x1aconfiguration/capabilities\x00\x00\x00\x01\x00\x00\x00\x00", "\x05\x1econfiguration/target-page-bits\x00\x00\x00\x01\x00\x00\x00\x0c", "\x05\x12configuration/uuid\x00\x00\x00\x01................"} {
		stream := append(config(good), sample(true)[start:]...)
		var r recorder
		if _, err := Parse(bytes.NewReader(stream), &r); err != nil || !bytes.Equal(r.head.Prologue, config(good)) {
			t.Errorf("%q: %v", good, err)
		}
	}
}

// limits bounds what the fuzzer makes us keep.
type limits struct{ recorder }

var errEnough = errors.New("enough")

func (l *limits) Head(h Head) error {
	if h.ramBytes() > 1<<20 {
		return errEnough
	}
	return l.recorder.Head(h)
}

func FuzzParse(f *testing.F) {
	f.Add(sample(true))
	f.Add(sample(false))
	f.Add(append(prologue(), "\x05\x1aconfiguration/capabilities\x00\x00\x00\x01\x00\x00\x00\x00"...))
	f.Fuzz(func(t *testing.T, stream []byte) {
		var first limits
		n, err := Parse(bytes.NewReader(stream), &first)
		if err != nil {
			return
		}
		if n != int64(len(stream)) {
			t.Fatalf("parsed %d bytes of %d", n, len(stream))
		}
		if err := first.head.Valid(); err != nil {
			t.Fatalf("an unsound head was accepted: %v", err)
		}
		var second recorder
		b := rebuild(&first.recorder)
		if _, err := Parse(bytes.NewReader(b), &second); err != nil {
			t.Fatalf("a rebuilt stream is refused: %v", err)
		}
		if !bytes.Equal(b, rebuild(&second)) {
			t.Fatal("a rebuilt stream changes when it is rebuilt")
		}
	})
}
