package repository

import (
	"context"
	"crypto/cipher"
	"fmt"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/repository/pack"
)

// replace writes what is used of the wasteful packs anew, then an index of all
// that stays, and only then deletes the old indexes: at any moment every page
// is in some index, and whatever an index tells of exists.
func (p *prune) replace(ctx context.Context) error {
	if p.report.PacksRewritten > 0 {
		written, err := p.rewritePacks(ctx)
		if err != nil {
			return err
		}
		p.report.BytesWritten = written
	}
	if err := p.writeIndexes(ctx); err != nil {
		return err
	}
	for _, src := range p.indexes {
		if err := p.delete(ctx, indexName(src)); err != nil {
			return err
		}
	}
	return p.r.syncIndex(ctx)
}

// writeIndexes stores an index of the packs that stay.
func (p *prune) writeIndexes(ctx context.Context) error {
	var packs []pack.Contents
	objects := 0
	flush := func() error {
		if len(packs) == 0 {
			return nil
		}
		_, _, err := p.r.storeIndex(ctx, packs)
		packs, objects = nil, 0
		return err
	}
	err := p.eachPack(ctx, func(c pack.Contents) error {
		if p.fates[c.ID] != keep {
			return nil
		}
		packs = append(packs, c)
		if objects += c.Objects(); objects < indexObjects {
			return nil
		}
		return flush()
	})
	if err != nil {
		return err
	}
	return flush()
}

// rewritePacks stores the used objects of the wasteful packs in new ones, with
// an index of their own.
func (p *prune) rewritePacks(ctx context.Context) (written int64, err error) {
	in := p.r.newIngest(ctx)
	defer in.close()
	in.up.write = func(ctx context.Context, packs []pack.Contents) (int64, error) {
		_, n, err := p.r.storeIndex(ctx, packs)
		return n, err
	}
	close(in.hashed) // there is nothing to hash; the packer is ours
	<-in.deduped
	err = p.eachPack(in.ctx, func(c pack.Contents) error {
		if p.fates[c.ID] != rewrite {
			return nil
		}
		return p.copyUsed(in, c)
	})
	if err == nil {
		err = in.packer.flush()
	}
	if err == nil {
		written, err = in.finish()
	}
	if cause := context.Cause(in.ctx); cause != nil {
		return 0, cause
	}
	return written, err
}

// copyUsed stores what is used of a pack.
func (p *prune) copyUsed(in *ingest, c pack.Contents) error {
	aead := p.r.master.AEAD(c.ID[:])
	for _, f := range c.Frames {
		var used []int
		for slot, id := range f.IDs {
			if p.marks.at(id, c.ID, f.Offset, slot) {
				used = append(used, slot)
			}
		}
		if len(used) == 0 {
			continue
		}
		objects, err := p.r.readFrame(in.ctx, c.ID, aead, f)
		if err != nil {
			return err
		}
		for _, slot := range used {
			size := f.Kind.ObjectSize()
			if err := in.packer.add(f.Kind, in.packer.frame(f.Kind), f.IDs[slot], objects[slot*size:][:size]); err != nil {
				return err
			}
		}
	}
	return nil
}

// readFrame reads one frame and checks every object in it.
func (r *Repository) readFrame(ctx context.Context, id pack.ID, aead cipher.AEAD, f pack.Frame) ([]byte, error) {
	sealed, err := readRange(ctx, r.store, packName(id), f.Offset, f.Length)
	if err != nil {
		return nil, err
	}
	objects, err := r.openFrame(aead, f, sealed)
	if err != nil {
		return nil, fmt.Errorf("%w: %s, bytes %d to %d: %w", snapline.ErrDamaged, packName(id), f.Offset, f.Offset+f.Length-1, err)
	}
	return objects, nil
}

func (r *Repository) openFrame(aead cipher.AEAD, f pack.Frame, sealed []byte) ([]byte, error) {
	objects, err := r.codec.Open(nil, aead, f.Kind, f.Offset, sealed)
	if err != nil {
		return nil, err
	}
	size := f.Kind.ObjectSize()
	if len(objects) != size*len(f.IDs) {
		return nil, fmt.Errorf("it holds %d bytes, not %d objects", len(objects), len(f.IDs))
	}
	h := r.hasher(f.Kind)
	for slot, want := range f.IDs {
		if h.Sum(objects[slot*size:][:size]) != want {
			return nil, fmt.Errorf("object %d is not %s", slot, want)
		}
	}
	return objects, nil
}
