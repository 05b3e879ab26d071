package qevm

import "github.com/snapline/snapline/repository/page"

// ram reads a PART or END section after its type.
func (p *parser) ram() {
	if n := p.u32(); p.err == nil && n != p.head.Section {
		p.fail(ErrUnsupported, "live section %d beside RAM", n)
		return
	}
	for p.err == nil {
		w := p.u64()
		if w == flagEOS {
			p.footer(false)
			return
		}
		p.record(w)
	}
}

// record reads one page.
func (p *parser) record(w uint64) {
	flags := w & flagMask
	switch flags &^ flagContinue {
	case flagPage, flagZero:
	default:
		p.fail(ErrUnsupported, "RAM record with flags %#x", flags)
		return
	}
	if flags&flagContinue == 0 {
		name := p.name()
		block, ok := p.names[name]
		if !ok {
			p.fail(ErrMalformed, "a page of RAM block %q, which is not in the table", name)
			return
		}
		p.block = block
	}
	index := int64(w / page.Size)
	if p.block < 0 || index >= p.head.Blocks[p.block].Pages() {
		p.fail(ErrMalformed, "page %d is outside its RAM block", index)
		return
	}
	if flags&flagZero != 0 {
		b := p.u8()
		if p.err == nil {
			p.err = p.to.Fill(p.block, index, b)
		}
		return
	}
	data := p.next(page.Size)
	if p.err == nil {
		p.err = p.to.Page(p.block, index, data)
	}
}
