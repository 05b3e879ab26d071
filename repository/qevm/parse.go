package qevm

import (
	"bufio"
	"bytes"
	"fmt"
	"io"

	"github.com/snapline/snapline/repository/page"
)

// Sink receives the parts of a stream, in the stream's order. An error ends
// the parsing and is returned.
type Sink interface {
	// Head comes first, once.
	Head(Head) error
	// Page is a page's content, which is good until the method returns. block
	// counts the head's blocks from 0. A page may come more than once: the last
	// one counts.
	Page(block int, index int64, data []byte) error
	// Fill is a page full of one byte.
	Fill(block int, index int64, b byte) error
	// Epilogue is everything after the RAM sections. It must be read to its end.
	Epilogue(r io.Reader) error
}

// bufferSize is how much is read at a time, in bytes.
const bufferSize = 1 << 20

// Parse takes a stream apart and returns its length. It needs about a MiB of
// memory, however long the stream is. An error says at which byte.
func Parse(r io.Reader, to Sink) (int64, error) {
	s := &source{r: bufio.NewReaderSize(r, bufferSize)}
	p := parser{source: s, to: to}
	p.parse()
	if s.err != nil {
		return s.at, fmt.Errorf("at byte %d: %w", s.at, s.err)
	}
	return s.at, nil
}

type parser struct {
	*source
	to    Sink
	head  Head
	names map[string]int
	block int // of the last record; -1 at first
}

func (p *parser) parse() {
	p.keep = &p.head.Prologue
	p.header()
	p.keep = nil
	if t := p.u8(); t != typeStart {
		p.fail(ErrUnsupported, "section type %#02x before the RAM", t)
		return
	}
	p.start()
	p.footer(true)
	if p.err == nil {
		p.err = p.head.Valid()
	}
	if p.err == nil {
		p.err = p.to.Head(p.head)
	}
	for p.err == nil {
		t, ok := p.peek()
		if !ok || t != typePart && t != typeEnd {
			break
		}
		p.u8()
		p.ram()
	}
	if p.err == nil {
		p.epilogue()
	}
}

// header reads the magic and the configuration section.
func (p *parser) header() {
	if m := p.next(len(magic)); !bytes.Equal(m, magic[:]) {
		p.fail(ErrMalformed, "it begins with %x", m)
		return
	}
	if t, _ := p.peek(); t != typeConfig {
		return // machine types before 2.4 have none
	}
	p.u8()
	n := p.u32()
	if n > 255 {
		p.fail(ErrMalformed, "a machine type of %d letters", n)
		return
	}
	p.next(int(n))
	for p.err == nil {
		if t, _ := p.peek(); t != typeSubsection {
			return
		}
		p.u8()
		p.configuration()
	}
}

// configuration reads one of its subsections (vmstate_configuration).
func (p *parser) configuration() {
	name := p.name()
	p.u32() // its version
	switch name {
	case "configuration/capabilities":
		if n := p.u32(); p.err == nil && n > 0 {
			// Those that are listed change the stream: x-ignore-shared, mapped-ram.
			p.fail(ErrUnsupported, "migration capability %q is on", p.name())
		}
	case "configuration/target-page-bits":
		if bits := p.u32(); 1<<bits != page.Size {
			p.fail(ErrUnsupported, "pages of 2^%d bytes", bits)
		}
	case "configuration/uuid":
		p.next(16)
	default:
		p.fail(ErrUnsupported, "subsection %q", name)
	}
}

// start reads the RAM section's START after its type.
func (p *parser) start() {
	p.head.Section = p.u32()
	name := p.name()
	p.head.Instance = p.u32()
	version := p.u32()
	if p.err == nil && (name != "ram" || version != ramVersion) {
		p.fail(ErrUnsupported, "section %q version %d where \"ram\" version %d should be", name, version, ramVersion)
		return
	}
	p.blockTable()
	if w := p.u64(); w != flagEOS {
		p.fail(ErrUnsupported, "record %#x after the block table", w)
	}
}

// blockTable reads the MEM_SIZE record.
func (p *parser) blockTable() {
	w := p.u64()
	if p.err == nil && w&flagMask != flagMemSize {
		p.fail(ErrUnsupported, "record %#x where the block table should be", w)
		return
	}
	left := int64(w &^ flagMask)
	if left < 0 || left > maxRAM {
		p.fail(ErrMalformed, "%d bytes of RAM", left)
	}
	p.names = map[string]int{}
	p.block = -1
	for left > 0 && p.err == nil {
		b := Block{Name: p.name(), Bytes: int64(p.u64())}
		if b.Bytes < 0 || b.Bytes > left || len(p.head.Blocks) >= maxBlocks {
			p.fail(ErrMalformed, "RAM block %q of %d bytes, %d are left", b.Name, b.Bytes, left)
			return
		}
		p.names[b.Name] = len(p.head.Blocks)
		p.head.Blocks = append(p.head.Blocks, b)
		left -= b.Bytes
	}
}

// footer reads a section's footer; after the first section it finds out
// whether there are any.
func (p *parser) footer(first bool) {
	if first {
		t, ok := p.peek()
		p.head.Footers = ok && t == typeFooter
	}
	if !p.head.Footers || p.err != nil {
		return
	}
	if t, n := p.u8(), p.u32(); t != typeFooter || n != p.head.Section {
		p.fail(ErrMalformed, "footer %#02x of section %d after section %d", t, n, p.head.Section)
	}
}

// epilogue hands over the rest.
func (p *parser) epilogue() {
	c := &counter{r: p.r}
	p.err = p.to.Epilogue(c)
	p.at += c.n
	if p.err == nil && c.n == 0 {
		p.err = fmt.Errorf("%w: it ends after the RAM: %w", ErrMalformed, io.ErrUnexpectedEOF)
	}
}

type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	return n, err
}
