package repository

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/repository/blob"
	"github.com/snapline/snapline/repository/index"
	"github.com/snapline/snapline/repository/pack"
	"github.com/snapline/snapline/repository/page"
)

// source is where frames come from.
type source struct {
	r      *Repository
	frames *frameCache
	packs  *packCache // nil: from the storage alone
	final  bool       // our index is as good as it gets
	hash   bool       // pages are compared with their ids
}

// shared is the source of whoever wants to have something. Every frame is
// authenticated; whether its writer put the right pages into it was found out by
// who verified it.
func (r *Repository) shared() source { return source{r: r, frames: r.frames, packs: r.packs} }

// fresh is the source of whoever wants to know that it can be had: what was
// unpacked for somebody else does not count.
func (r *Repository) fresh() source {
	return source{r: r, frames: newFrameCache(frameCacheBytes), packs: r.packs, hash: true}
}

// stored is a fresh source that looks at the storage alone.
func (r *Repository) stored() source {
	return source{r: r, frames: newFrameCache(frameCacheBytes), hash: true}
}

// learned is a source for whoever has made the index anew just now: what is not
// in it is lost.
func (s source) learned() source {
	s.final = true
	return s
}

// fetch gets objects out of packs. The frames it returns are read-only.
type fetch struct {
	source
	kind pack.Kind
}

// Frames of a pack that are at most so far apart are read together, and at
// most so much at once, in bytes.
const (
	readGap = 128 << 10
	readMax = 4 << 20
)

const notIndexed = "in no index, or only in one that tells of a pack that is gone"

// errNotIndexed: perhaps our index is behind.
var errNotIndexed = errors.New(notIndexed)

// fetched is what a fetch has got, until release.
type fetched struct {
	at     []located // one for each id; those that are not stored have no frame
	frames []*cachedFrame
	cache  *frameCache
}

// located is where an object is in an unpacked frame.
type located struct {
	frame []byte
	slot  int
}

// release gives the frames back. What they held must not be read any more.
func (o *fetched) release() {
	o.cache.release(o.frames)
	o.frames = nil
}

// objects returns the frame and slot of every id that is stored. Each frame is
// read once. After an error there is nothing to release.
func (f fetch) objects(ctx context.Context, ids []page.ID) (*fetched, error) {
	got := &fetched{at: make([]located, len(ids)), cache: f.frames}
	for tries := 0; ; tries++ {
		err := f.try(ctx, ids, got)
		if err == nil {
			return got, nil
		}
		got.release()
		if !errors.Is(err, errNotIndexed) && !errors.Is(err, blob.ErrNotFound) {
			return nil, err
		}
		var again error
		switch {
		case tries == 0 && !f.final:
			// A prune may have moved what we look for since the index was read, or an
			// index may tell of a pack that it has deleted.
			again = f.r.trustIndex(ctx)
		case tries == 1 && !f.final:
			// A pack that was missing may have been brought back.
			again = f.r.relearnIndex(ctx)
		default:
			return nil, damaged(err)
		}
		if again != nil {
			return nil, again
		}
	}
}

func (f fetch) try(ctx context.Context, ids []page.ID, got *fetched) error {
	locs := make([]index.Loc, len(ids))
	want := map[frameKey]*cachedFrame{}
	var mine []claimed
	defer func() { // whatever we could not provide
		for _, c := range mine {
			f.frames.provide(c.frame, nil, errNotProvided)
		}
	}()
	for i, id := range ids {
		if !id.Stored() {
			continue
		}
		loc, ok := f.r.index.Lookup(id)
		if !ok {
			return fmt.Errorf("page %s: %w", id, errNotIndexed)
		}
		locs[i] = loc
		key := frameKey{loc.Pack, loc.Offset}
		if want[key] != nil {
			continue
		}
		c, first := got.claim(key)
		want[key] = c
		if first {
			mine = append(mine, claimed{c, loc})
		}
	}
	sortClaims(mine)
	for len(mine) > 0 {
		n, err := f.run(ctx, mine)
		mine = mine[n:]
		if err != nil {
			return err
		}
	}
	return f.collect(ctx, ids, locs, want, got)
}

// claim claims a frame until release.
func (o *fetched) claim(key frameKey) (f *cachedFrame, mine bool) {
	f, mine = o.cache.claim(key)
	o.frames = append(o.frames, f)
	return f, mine
}

// claimed is a frame that we provide.
type claimed struct {
	frame *cachedFrame
	loc   index.Loc
}

func sortClaims(list []claimed) {
	slices.SortFunc(list, func(a, b claimed) int {
		return cmp.Or(slices.Compare(a.loc.Pack[:], b.loc.Pack[:]), cmp.Compare(a.loc.Offset, b.loc.Offset))
	})
}

// errNotProvided: whoever claimed the frame has given up, for a reason of its own.
var errNotProvided = errors.New("given up by another reader")

// collect waits for the frames.
func (f fetch) collect(ctx context.Context, ids []page.ID, locs []index.Loc, want map[frameKey]*cachedFrame, got *fetched) error {
	for i, id := range ids {
		if !id.Stored() {
			continue
		}
		loc := locs[i]
		key := frameKey{loc.Pack, loc.Offset}
		data, err := want[key].wait(ctx)
		for errors.Is(err, errNotProvided) {
			if data, err = f.one(ctx, key, loc, got); err == nil {
				break
			}
		}
		if err != nil {
			return err
		}
		if (loc.Slot+1)*f.kind.ObjectSize() > len(data) {
			return fmt.Errorf("%w: %s has no object %d", snapline.ErrDamaged, place(loc), loc.Slot)
		}
		got.at[i] = located{data, loc.Slot}
	}
	return nil
}

// one gets a frame that another reader has given up.
func (f fetch) one(ctx context.Context, key frameKey, loc index.Loc, got *fetched) ([]byte, error) {
	c, first := got.claim(key)
	if !first {
		return c.wait(ctx)
	}
	if _, err := f.run(ctx, []claimed{{c, loc}}); err != nil {
		return nil, err
	}
	return c.wait(ctx)
}

// run reads the first frames of the list that lie close together, with one
// request, and provides them; it returns how many they were.
func (f fetch) run(ctx context.Context, list []claimed) (n int, err error) {
	first := list[0].loc
	end := first.Offset + first.Length
	for n = 1; n < len(list); n++ {
		l := list[n].loc
		if l.Pack != first.Pack || l.Offset-end > readGap || l.Offset+l.Length-first.Offset > readMax {
			break
		}
		end = l.Offset + l.Length
	}
	data, err := f.read(ctx, list[:n], end)
	for i, c := range list[:n] {
		failed := err
		if err == nil {
			failed = data[i].err
		} else if ctx.Err() != nil {
			failed = errNotProvided
		}
		f.frames.provide(c.frame, data[i].objects, failed)
	}
	for _, d := range data {
		err = errors.Join(err, d.err)
	}
	return n, err
}

// unpacked is a frame's objects, or why there are none.
type unpacked struct {
	objects []byte
	err     error
}

// read reads frames up to that end of a pack and unpacks them. Frames that are
// damaged in this machine's cache are read from the storage.
func (f fetch) read(ctx context.Context, list []claimed, end int64) ([]unpacked, error) {
	first := list[0].loc
	space := f.r.readBuffer(int(end - first.Offset))
	defer f.r.readBuffers.Put(space)
	b := *space
	cached, err := f.packs.get(ctx, f.r.store, first.Pack, first.PackSize, first.Offset, b)
	if err != nil {
		if errors.Is(err, blob.ErrShort) {
			err = damaged(err)
		}
		return make([]unpacked, len(list)), err
	}
	aead := f.r.master.AEAD(first.Pack[:])
	out := make([]unpacked, len(list))
	bad := false
	for i, c := range list {
		sealed := b[c.loc.Offset-first.Offset:][:c.loc.Length]
		objects, err := f.r.codec.Open(f.frames.space(f.kind), aead, f.kind, c.loc.Offset, sealed)
		if err != nil {
			bad = true
			err = fmt.Errorf("%w: %s: %w", snapline.ErrDamaged, place(c.loc), err)
		}
		out[i] = unpacked{objects, err}
	}
	if bad && cached {
		f.packs.drop(first.Pack)
		f.packs = nil
		return f.read(ctx, list, end)
	}
	return out, nil
}

func place(l index.Loc) string {
	return fmt.Sprintf("%s, bytes %d to %d", packName(l.Pack), l.Offset, l.Offset+l.Length-1)
}
