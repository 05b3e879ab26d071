package repository

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/repository/blob"
	"github.com/snapline/snapline/repository/index"
	"github.com/snapline/snapline/repository/pack"
	"github.com/snapline/snapline/repository/page"
	"github.com/snapline/snapline/repository/seal"
)

// CheckReport says what is wrong with a repository.
type CheckReport struct {
	// Problems are damages; none: all is well.
	Problems []Problem `json:"problems"`
	// Unused blobs cost space only; Prune removes them.
	Unused      int   `json:"unused"`
	UnusedBytes int64 `json:"unused_bytes"`
	Snapshots   int   `json:"snapshots"`
	Packs       int   `json:"packs"`
	// BytesRead counts what was read of packs.
	BytesRead int64 `json:"bytes_read"`
}

// Problem is one damage.
type Problem struct {
	// Snapshot and Object (a member, or MEMBER.DISK) are empty when it is not
	// one snapshot's alone.
	Snapshot snapline.SnapshotID `json:"snapshot,omitempty"`
	Object   string              `json:"object,omitempty"`
	// Part is "RAM block pc.ram", "device state", "disk", or empty; First and
	// Last are the pages lost in it, when Pages is true.
	Part  string `json:"part,omitempty"`
	Pages bool   `json:"pages,omitempty"`
	First int64  `json:"first,omitempty"`
	Last  int64  `json:"last,omitempty"`
	Blob  string `json:"blob,omitempty"`
	Text  string `json:"text"`
}

func (p Problem) String() string {
	var s []string
	if p.Snapshot != "" {
		s = append(s, string(p.Snapshot))
	}
	if p.Object != "" {
		s = append(s, p.Object)
	}
	if p.Part != "" {
		s = append(s, p.Part)
	}
	if p.Pages {
		s = append(s, fmt.Sprintf("pages %d to %d", p.First, p.Last))
	}
	if p.Blob != "" {
		s = append(s, p.Blob)
	}
	return strings.Join(append(s, p.Text), ": ")
}

// Check looks for damage. Not deep, it reads records, roots, indexes and page
// maps, and compares the sizes of packs; deep, it reads, unpacks and hashes
// everything. Snapshots may be written meanwhile. The error is for storage that
// cannot be read at all; CodeBusy for one that prunes have changed each time.
func (r *Repository) Check(ctx context.Context, deep bool) (CheckReport, error) {
	read, bad := map[pack.ID]string{}, map[frameKey]string{}
	var bytes int64
	for range checkTries {
		c := &check{r: r, stored: map[pack.ID]int64{}, read: read, bad: bad, lost: map[pack.ID]string{},
			lostPages: map[page.ID]pack.ID{}}
		c.report.BytesRead = bytes
		err := c.run(ctx, deep)
		bytes = c.report.BytesRead
		if err != nil && !errors.Is(err, blob.ErrNotFound) {
			return c.report, fmt.Errorf("check %s: %w", r.store, err)
		}
		if err == nil && len(c.report.Problems) == 0 {
			return c.report, nil
		}
		pruned, lerr := c.pruned(ctx)
		if lerr != nil {
			return c.report, fmt.Errorf("check %s: %w", r.store, lerr)
		}
		if err != nil && !pruned {
			return c.report, fmt.Errorf("check %s: %w", r.store, err)
		}
		if !pruned {
			return c.report, nil
		}
	}
	return CheckReport{}, &snapline.Error{Code: snapline.CodeBusy, Message: fmt.Sprintf("%s was pruned each of the %d times that it was looked at", r.store, checkTries),
		Hint: "check it again when it is not being pruned"}
}

// checkTries bounds how often a check begins anew because of a prune. What was read
// of packs, which never change, is not read again.
const checkTries = 5

type check struct {
	r       *Repository
	report  CheckReport
	sources []index.Source // indexes that there were at the beginning
	stored  map[pack.ID]int64
	read    map[pack.ID]string // packs whose bytes were looked at, and what is wrong with them
	lost    map[pack.ID]string // packs that are missing or of another size
	// lostPages are what missing packs held, as far as memory allows.
	missing   []pack.ID
	lostPages map[page.ID]pack.ID
	bad       map[frameKey]string // frames that are not what was written
	marks     *marks
}

func (c *check) add(p Problem) { c.report.Problems = append(c.report.Problems, p) }

func (c *check) run(ctx context.Context, deep bool) error {
	if _, err := readKeys(ctx, c.r.store, c.r.id); err != nil {
		if ctx.Err() != nil || !errors.Is(err, snapline.ErrDamaged) {
			return err
		}
		c.add(Problem{Text: err.Error()})
	}
	if err := c.packs(ctx, deep); err != nil {
		return err
	}
	if err := c.r.relearnIndex(ctx); err != nil {
		if errors.Is(err, snapline.ErrDamaged) {
			return nil // said already; what lies behind it cannot be judged
		}
		return err
	}
	t, err := c.r.index.Single()
	if err != nil {
		return err
	}
	defer t.Close()
	c.marks = newMarks(t)
	if err := c.snapshots(ctx); err != nil {
		return err
	}
	if len(c.report.Problems) == 0 {
		// Nobody needs the packs that are missing: their index was written late, by
		// a round that had been given up when a prune ran.
		return nil
	}
	for _, id := range c.missing {
		c.add(Problem{Blob: packName(id), Text: c.lost[id]})
	}
	return nil
}

// listIndexes lists the indexes in the storage.
func (c *check) listIndexes(ctx context.Context) (all []index.Source, err error) {
	err = c.r.store.List(ctx, indexPrefix, func(name string, _ int64) error {
		if id, ok := parseHex(name, indexPrefix); ok {
			all = append(all, id)
		}
		return nil
	})
	return all, err
}

// pruned reports whether an index has gone that there was at the beginning: a prune
// deletes no pack that an index tells of.
func (c *check) pruned(ctx context.Context) (bool, error) {
	now, err := c.listIndexes(ctx)
	return slices.ContainsFunc(c.sources, func(s index.Source) bool { return !slices.Contains(now, s) }), err
}

// packs compares indexes with what is stored. It lists indexes first: all packs
// that they tell of are there, unless a prune comes.
func (c *check) packs(ctx context.Context, deep bool) error {
	var err error
	if c.sources, err = c.listIndexes(ctx); err != nil {
		return err
	}
	if err := c.r.store.List(ctx, packPrefix, func(name string, size int64) error {
		if id, ok := parsePackName(name); ok {
			c.stored[id] = size
		}
		return nil
	}); err != nil {
		return err
	}
	c.report.Packs = len(c.stored)
	seen := map[pack.ID]bool{}
	for _, src := range c.sources {
		packs, err := c.r.fetchIndex(ctx, src)
		if err != nil {
			if !errors.Is(err, snapline.ErrDamaged) {
				return err
			}
			c.add(Problem{Blob: indexName(src), Text: err.Error()})
			continue
		}
		for _, p := range packs {
			if seen[p.ID] {
				continue
			}
			seen[p.ID] = true
			if err := c.pack(ctx, p, deep); err != nil {
				return err
			}
		}
	}
	for id, size := range c.stored {
		if !seen[id] {
			c.report.Unused++
			c.report.UnusedBytes += size
		}
	}
	return nil
}

// pack compares one pack with the index.
func (c *check) pack(ctx context.Context, p pack.Contents, deep bool) error {
	size, ok := c.stored[p.ID]
	switch {
	case !ok:
		c.miss(p)
		return nil
	case size != p.Size:
		c.lost[p.ID] = fmt.Sprintf("it has %d bytes, not %d", size, p.Size)
	}
	if text, lost := c.lost[p.ID]; lost {
		c.add(Problem{Blob: packName(p.ID), Text: text})
		return nil
	}
	if !deep {
		return nil
	}
	text, read := c.read[p.ID]
	if !read {
		b, err := readBlob(ctx, c.r.store, packName(p.ID))
		if err != nil {
			return err
		}
		c.report.BytesRead += int64(len(b))
		text = c.r.checkPack(p, b, func(f pack.Frame, err error) {
			c.bad[frameKey{p.ID, f.Offset}] = err.Error()
		})
		c.read[p.ID] = text
	}
	if text != "" {
		c.add(Problem{Blob: packName(p.ID), Text: text})
	}
	return nil
}

// maxLostPages bounds lostPages: 64 MiB.
const maxLostPages = 1 << 20

// miss notes a pack that is not there.
func (c *check) miss(p pack.Contents) {
	c.lost[p.ID] = "it is missing"
	c.missing = append(c.missing, p.ID)
	for _, f := range p.Frames {
		for _, id := range f.IDs {
			if len(c.lostPages) < maxLostPages {
				c.lostPages[id] = p.ID
			}
		}
	}
}

// checkPack looks at all bytes of a pack.
func (r *Repository) checkPack(p pack.Contents, b []byte, bad func(pack.Frame, error)) (text string) {
	if id, err := seal.ParseHeader(b, seal.PackMagic); err != nil || id != p.ID {
		text = "its header is altered"
	}
	if footer, err := readFooter(r.master, p.ID, b); err != nil {
		text = "its footer: " + err.Error()
	} else if len(footer.Frames) != len(p.Frames) {
		text = "its footer is not what the index says"
	}
	aead := r.master.AEAD(p.ID[:])
	for _, f := range p.Frames {
		if f.Offset+f.Length > int64(len(b)) {
			bad(f, errors.New("it is beyond the end"))
			continue
		}
		if _, err := r.openFrame(aead, f, b[f.Offset:][:f.Length:f.Length]); err != nil {
			bad(f, err)
			text = fmt.Sprintf("bytes %d to %d: %v", f.Offset, f.Offset+f.Length-1, err)
		}
	}
	return text
}

// readFooter opens the footer of a whole pack.
func readFooter(m *seal.Master, id pack.ID, b []byte) (pack.Contents, error) {
	if len(b) < pack.TrailerSize {
		return pack.Contents{}, seal.ErrAltered
	}
	size := int64(len(b))
	offset, length, err := pack.FooterRange(size, b[size-pack.TrailerSize:])
	if err != nil {
		return pack.Contents{}, err
	}
	return pack.OpenFooter(m, id, size, offset, b[offset:][:length])
}

// snapshots goes through all records and what they need.
func (c *check) snapshots(ctx context.Context) error {
	ids, _, err := c.r.listIDs(ctx)
	if err != nil {
		return err
	}
	exists := map[snapline.SnapshotID]bool{}
	for _, id := range ids {
		exists[id] = true
		c.report.Snapshots++
		s, err := c.r.Snapshot(ctx, id)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			c.add(Problem{Snapshot: id, Blob: manifestName(id), Text: err.Error()})
			continue
		}
		for name, o := range objects(s) {
			if _, err := c.r.readRoot(ctx, id, name, o); err != nil {
				c.add(Problem{Snapshot: id, Object: name, Text: err.Error()})
			}
		}
	}
	roots, err := c.r.listRoots(ctx)
	if err != nil {
		return err
	}
	for _, ref := range roots {
		if !exists[ref.snapshot] {
			c.report.Unused++
			c.report.UnusedBytes += ref.size
			continue
		}
		if err := c.root(ctx, ref); err != nil {
			return err
		}
	}
	return nil
}

// root goes through a root's page maps.
func (c *check) root(ctx context.Context, ref rootRef) error {
	rt, _, err := c.r.anyRoot(ctx, ref.snapshot, ref.object)
	if errors.Is(err, blob.ErrNotFound) || ctx.Err() != nil {
		return ctx.Err() // deleted meanwhile
	}
	if err != nil {
		c.add(Problem{Snapshot: ref.snapshot, Object: ref.object, Blob: ref.name(), Text: err.Error()})
		return nil
	}
	nodes := fetch{c.r.stored().learned(), pack.Nodes}
	h := c.r.hasher(pack.Nodes)
	for part, pm := range rt.Maps {
		run := Problem{Snapshot: ref.snapshot, Object: ref.object, Part: rt.part(part)}
		load := func(id page.ID) ([]byte, error) {
			// A subtree that was sound in another snapshot is so in this one; one
			// that was not is named in each.
			if known, first := c.marks.mark(id); known && !first && len(c.report.Problems) == 0 {
				return nil, nil
			}
			return nodes.node(ctx, h, id)
		}
		err := walkPages(pm, load, func(i int64, id page.ID) error {
			c.page(&run, i, id)
			return ctx.Err()
		})
		c.endRun(&run)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			run.Text = err.Error()
			c.add(run)
		}
	}
	return nil
}

// page adds a lost page to the run of lost pages, or ends it.
func (c *check) page(run *Problem, i int64, id page.ID) {
	text, name := "", ""
	if loc, ok := c.r.index.Lookup(id); !ok {
		text = notIndexed
		if p, ok := c.lostPages[id]; ok {
			name, text = packName(p), c.lost[p]
		}
	} else {
		name = packName(loc.Pack)
		if text = c.lost[loc.Pack]; text == "" {
			text = c.bad[frameKey{loc.Pack, loc.Offset}]
		}
	}
	c.extend(run, i, text, name)
}

// extend adds a lost page to the run, or, without a text, ends it. Pages that
// are stored nowhere, such as those of zeros, may lie in between.
func (c *check) extend(run *Problem, i int64, text, name string) {
	if run.Pages && (text != run.Text || name != run.Blob) {
		c.endRun(run)
	}
	if text == "" {
		return
	}
	if !run.Pages {
		run.Pages, run.First, run.Text, run.Blob = true, i, text, name
	}
	run.Last = i
}

func (c *check) endRun(run *Problem) {
	if run.Pages {
		c.add(*run)
	}
	run.Pages, run.First, run.Last, run.Text, run.Blob = false, 0, 0, "", ""
}
