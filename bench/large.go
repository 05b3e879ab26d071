package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/snapline/snapline/repository/page"
	"github.com/snapline/snapline/repository/qevm"
)

// generated writes the migration stream of a machine that does not exist: of 32
// pages 16 are zero, 15 are there many times, and one nowhere else. What a Put
// remembers grows with the last, what it writes down with all.
func generated(w io.Writer, pages int64) error {
	const shared = 4096 // different pages that are there many times
	common := make([]byte, shared*page.Size)
	fillPages(common, 1)
	h := &qevm.Head{
		Prologue: []byte("QEVM\x00\x00\x00\x03\x07\x00\x00\x00\x0apc-q35-7.2"), Section: 2, Footers: true,
		Blocks: []qevm.Block{{Name: "pc.ram", Bytes: pages * page.Size}},
	}
	buf := qevm.AppendHead(nil, h)
	own := make([]byte, page.Size)
	for first := int64(0); first < pages; first += 1024 {
		p := qevm.NewPart(buf, h, 0)
		for i := first; i < min(first+1024, pages); i++ {
			switch {
			case i%32 < 16:
				p.Fill(i, 0)
			case i%32 == 31:
				fillPages(own, uint64(i))
				copy(p.Page(i), own)
			default:
				copy(p.Page(i), common[i*7%shared*page.Size:][:page.Size])
			}
		}
		if _, err := w.Write(p.End()); err != nil {
			return err
		}
		buf = buf[:0]
	}
	_, err := w.Write([]byte{4, 0, 0, 0, 0}) // a device's section
	return err
}

// fillPages fills memory with numbers, of which half of the bits are random.
func fillPages(b []byte, seed uint64) {
	rnd := rand.NewPCG(seed, 3)
	for at := 0; at < len(b); at += 8 {
		binary.LittleEndian.PutUint64(b[at:], rnd.Uint64()&0xffffffff)
	}
}

// measureLarge stores and reads generated machines: one of that size, and
// another of a quarter, for the slope.
func measureLarge(ctx context.Context, gib int) ([]memorySample, error) {
	folder, err := os.MkdirTemp("", "snapline-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	var all []memorySample
	for _, n := range []int{max(1, gib/4), gib} {
		repo := filepath.Join(folder, fmt.Sprint(n))
		if _, _, err := measured(self(ctx, "init", repo)); err != nil {
			return nil, err
		}
		put, _, err := measured(self(ctx, "generate", repo, "bench-1", fmt.Sprint(n)))
		if err != nil {
			return nil, err
		}
		open, _, err := measured(self(ctx, "open", repo, "bench-1"))
		if err != nil {
			return nil, err
		}
		say("  %d GiB generated: put %.1f s, %.0f MiB resident; open %.1f s, %.0f MiB", n, put.WallMS/1000, put.PeakMiB, open.WallMS/1000, open.PeakMiB)
		all = append(all, memorySample{put, "put", float64(n), "generated"}, memorySample{open, "open", float64(n), "generated"})
	}
	return all, nil
}
