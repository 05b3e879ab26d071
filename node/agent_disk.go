package node

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync/atomic"

	"github.com/snapline/snapline"
)

// storeDisks puts a member's frozen disks into the repository, one after the
// other: they share its workers.
func (r *memberRunner) storeDisks(d *round, repo snapline.Repository, id snapline.SnapshotID, disks []snapline.FrozenDisk) ([]snapline.DiskSnapshot, error) {
	var stored []snapline.DiskSnapshot
	for i, disk := range disks {
		one := snapline.DiskSnapshot{DiskInfo: disk.Info(), Name: fmt.Sprintf("disk%d", i)}
		var err error
		if one.Object, err = r.storeDisk(d, repo, id, one.Name, one.DiskInfo, disk.Extents(d.ctx)); err != nil {
			return nil, err
		}
		if below := disk.Backing(); below != nil {
			if one.Backing, err = r.storeBacking(d, repo, id, one.Name+"-backing", below); err != nil {
				return nil, err
			}
		}
		stored = append(stored, one)
	}
	return stored, nil
}

func (r *memberRunner) storeDisk(d *round, repo snapline.Repository, id snapline.SnapshotID, name string, info snapline.DiskInfo, extents iter.Seq2[snapline.Extent, error]) (snapline.Object, error) {
	passed := &offset{}
	stop := r.report(d, "storing "+name, info.Size, passed.Load)
	defer stop()
	return repo.PutDisk(d.ctx, id, r.key.member, name, snapline.DiskContent{Size: info.Size, Extents: passed.watch(extents)})
}

// storeBacking keeps the read-only file under a disk. When an earlier snapshot
// has the same content, nothing is read but what tells that it is the same.
func (r *memberRunner) storeBacking(d *round, repo snapline.Repository, id snapline.SnapshotID, name string, file snapline.BackingFile) (*snapline.BackingSnapshot, error) {
	digest, err := file.Digest(d.ctx)
	if err != nil {
		return nil, err
	}
	b := &snapline.BackingSnapshot{DiskInfo: file.Info(), Name: name, Digest: digest}
	if known, ok := r.agent.backings.get(r.key, digest); ok {
		b.Object, err = repo.PutDisk(d.ctx, id, r.key.member, name, snapline.DiskContent{Size: b.Size, Base: &known})
		if err != nil && d.ctx.Err() != nil {
			return nil, err
		}
	}
	if b.Object == (snapline.Object{}) { // not known, or deleted since
		if b.Object, err = r.storeDisk(d, repo, id, name, b.DiskInfo, file.Extents(d.ctx)); err != nil {
			return nil, err
		}
	}
	r.agent.backings.put(r.key, digest, snapline.DiskRef{Snapshot: id, Name: name, Object: b.Object})
	return b, nil
}

// releaseDisks merges what the guest has written since the cut back into its
// disks. The snapshot is good whatever happens here, and so is the VM: what
// cannot be merged now is merged before the next capture.
func (r *memberRunner) releaseDisks(d *round, disks []snapline.FrozenDisk) {
	if len(disks) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(d.ctx), mergeLimit)
	defer cancel()
	var all []error
	for _, disk := range disks {
		info := disk.Info()
		stop := r.report(d, "merging", 0, func() int64 { return 0 })
		if err := disk.Release(ctx); err != nil {
			all = append(all, fmt.Errorf("disk %s: %w", info.ID, err))
		}
		stop()
	}
	if err := errors.Join(all...); err != nil {
		r.agent.Log.Warn("merge disks", "member", r.key.member, "error", err)
	}
}

// storedDisks are a member's disks on their way back.
func storedDisks(repo snapline.Repository, id snapline.SnapshotID, part snapline.MemberSnapshot, passed func(int64)) []snapline.StoredDisk {
	open := func(name string, o snapline.Object) func(context.Context) iter.Seq2[snapline.Extent, error] {
		return func(ctx context.Context) iter.Seq2[snapline.Extent, error] {
			return func(yield func(snapline.Extent, error) bool) {
				extents, err := repo.OpenDisk(ctx, id, part.Name, name, o)
				if err != nil {
					yield(snapline.Extent{}, err)
					return
				}
				last := int64(0)
				for e, err := range extents {
					passed(e.Offset + e.Length - last)
					last = e.Offset + e.Length
					if !yield(e, err) {
						return
					}
				}
				passed(o.RawBytes - last)
			}
		}
	}
	var disks []snapline.StoredDisk
	for _, d := range part.Disks {
		one := snapline.StoredDisk{DiskSnapshot: d, Extents: open(d.Name, d.Object)}
		if b := d.Backing; b != nil {
			one.BackingExtents = open(b.Name, b.Object)
		}
		disks = append(disks, one)
	}
	return disks
}

// verifyMember reads everything that a restore of the member would.
func verifyMember(ctx context.Context, repo snapline.Repository, id snapline.SnapshotID, part snapline.MemberSnapshot) error {
	if err := repo.Verify(ctx, id, part.Name, part.Object); err != nil {
		return err
	}
	for name, o := range part.DiskObjects() {
		if err := repo.VerifyDisk(ctx, id, part.Name, name, o); err != nil {
			return err
		}
	}
	return nil
}

// offset is how far reading a disk has come, for people.
type offset struct{ atomic.Int64 }

func (o *offset) watch(extents iter.Seq2[snapline.Extent, error]) iter.Seq2[snapline.Extent, error] {
	return func(yield func(snapline.Extent, error) bool) {
		for e, err := range extents {
			if !yield(e, err) {
				return
			}
			o.Store(e.Offset + e.Length)
		}
	}
}
