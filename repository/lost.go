package repository

import (
	"context"
	"errors"
	"fmt"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/repository/pack"
	"github.com/snapline/snapline/repository/page"
)

// Lost reads all of a member's stream, or of the disk of that name, page by
// page, and says which cannot be had. It is slower than Verify, which stops at
// the first: it is for when that has found damage.
func (r *Repository) Lost(ctx context.Context, id snapline.SnapshotID, m snapline.MemberName, disk string) ([]Problem, error) {
	object := string(m)
	err := checkMember(id, m)
	if disk != "" {
		object, err = diskObject(m, disk), checkDisk(id, m, disk)
	}
	c := &check{r: r}
	if err == nil {
		err = c.readAll(ctx, rootRef{snapshot: id, object: object})
	}
	if err != nil {
		return nil, fmt.Errorf("read %s of %s: %w", object, id, err)
	}
	return c.report.Problems, nil
}

// readAll adds what is lost of a root.
func (c *check) readAll(ctx context.Context, ref rootRef) error {
	rt, _, err := c.r.anyRoot(ctx, ref.snapshot, ref.object)
	if err == nil {
		err = c.r.relearnIndex(ctx)
	}
	if errors.Is(err, snapline.ErrDamaged) {
		c.add(Problem{Snapshot: ref.snapshot, Object: ref.object, Text: err.Error()})
		return nil
	}
	if err != nil {
		return err
	}
	nodes, pages := fetch{c.r.stored().learned(), pack.Nodes}, fetch{c.r.stored().learned(), pack.Pages}
	h, ph := c.r.hasher(pack.Nodes), c.r.hasher(pack.Pages)
	for part, pm := range rt.Maps {
		run := Problem{Snapshot: ref.snapshot, Object: ref.object, Part: rt.part(part)}
		err := walkPages(pm, func(id page.ID) ([]byte, error) { return nodes.node(ctx, h, id) }, func(i int64, id page.ID) error {
			got, err := pages.objects(ctx, []page.ID{id})
			if err == nil {
				_, err = (&window{first: i, ids: []page.ID{id}, objects: got.at, hasher: &ph}).page(0)
				got.release()
			}
			if err != nil && !errors.Is(err, snapline.ErrDamaged) {
				return err // nobody knows
			}
			text, blob := "", ""
			if err != nil {
				text, blob = c.why(ctx, id)
			}
			c.extend(&run, i, text, blob)
			return nil
		})
		c.endRun(&run)
		if err != nil && !errors.Is(err, snapline.ErrDamaged) {
			return err
		}
		if err != nil {
			run.Text = err.Error()
			c.add(run)
		}
	}
	return nil
}

// why says what is wrong with an object: the same of all that are lost with it.
func (c *check) why(ctx context.Context, id page.ID) (text, blob string) {
	l, ok := c.r.index.Lookup(id)
	if !ok {
		return notIndexed, ""
	}
	if err := c.r.packThere(ctx, l); err != nil {
		return err.Error(), ""
	}
	return fmt.Sprintf("bytes %d to %d are not what was written", l.Offset, l.Offset+l.Length-1), packName(l.Pack)
}
