package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/qemu/disk"
)

type exportOptions struct {
	snapshot snapline.SnapshotID
	member   snapline.MemberName
	disk     string
	output   string
	force    bool
}

func exportCommand(e *env) *cobra.Command {
	var f directFlags
	var o exportOptions
	var member string
	cmd := &cobra.Command{
		Use:   "export SNAPSHOT --member NAME -o FILE",
		Short: "Write a member's memory or disk to a file that other programs read",
		Long: `Write what a snapshot holds of one member to a file that needs no Snapline:

  -o FILE.raw                  its main memory, a sparse image; offsets are those of
                               QEMU's RAM block: above 2 or 3 GiB the guest's physical
                               addresses lie higher, behind the PCI hole
  -o FILE.qemu                 the migration stream, memory and devices: a QEMU with the
                               same machine loads it with -incoming "exec:cat FILE.qemu"
  --disk ID -o FILE.qcow2|.raw one of its disks, whole, without a backing file

See "snapline show SNAPSHOT --json" for the machine's command line and its disks.
It reads the repository itself, so it needs a key; without --repo it asks the
coordinator where the repository is.`,
		Example: `  snapline export etcd-7 --member n1 -o n1.qemu --key-file /etc/snapline/key
  snapline export etcd-7 --member n1 --disk virtio0 -o n1.qcow2`,
		SuggestFor:        []string{"dump", "extract"},
		Args:              exactly("SNAPSHOT"),
		ValidArgsFunction: e.completeSnapshots(),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if o.snapshot, err = snapshotArg(args[0]); err != nil {
				return err
			}
			o.member = snapline.MemberName(member)
			if err := o.check(); err != nil {
				return err
			}
			return e.withSnapshots(cmd.Context(), &f, func(r *openedRepository, p printer) error {
				return runExport(cmd.Context(), r, p, o)
			})
		},
	}
	f.register(cmd.Flags())
	cmd.Flags().StringVar(&member, "member", "", "`NAME` of the member")
	cmd.Flags().StringVar(&o.disk, "disk", "", "`ID` of one of its disks, instead of its memory")
	cmd.Flags().StringVarP(&o.output, "output", "o", "", "`FILE` to write; its ending says what")
	cmd.Flags().BoolVar(&o.force, "force", false, "replace the file if it exists")
	completeFlag(cmd, "member", e.completeMembers)
	return cmd
}

// check refuses what cannot be done before anything is opened.
func (o exportOptions) check() error {
	if o.member == "" {
		return invalid("see `snapline show "+string(o.snapshot)+"`", "which member? --member is missing")
	}
	if err := snapline.CheckName("member", string(o.member)); err != nil {
		return invalid("", "%v", err)
	}
	if o.output == "" {
		return invalid("write -o FILE.raw, or -o FILE.qemu", "where to? -o is missing")
	}
	switch ending := filepath.Ext(o.output); {
	case o.disk == "" && ending != ".raw" && ending != ".qemu":
		return invalid("FILE.raw is the memory, FILE.qemu the migration stream", "-o %s: the ending says what to write", o.output)
	case o.disk != "" && ending != ".raw" && ending != ".qcow2":
		return invalid("FILE.raw and FILE.qcow2 are the formats of disks", "-o %s: the ending says what to write", o.output)
	}
	if _, err := os.Lstat(o.output); err == nil && !o.force {
		return o.exists()
	}
	return nil
}

func (o exportOptions) exists() error {
	return invalid("choose another name, or replace it with --force", "%s exists already", o.output)
}

// exported is the JSON of "export".
type exported struct {
	ID     snapline.SnapshotID `json:"id"`
	Member snapline.MemberName `json:"member"`
	Kind   string              `json:"kind"` // memory, stream, disk
	Disk   string              `json:"disk,omitempty"`
	File   string              `json:"file"`
	// Bytes is the file's length, or the disk's; holes count.
	Bytes int64 `json:"bytes"`
}

func runExport(ctx context.Context, r *openedRepository, p printer, o exportOptions) error {
	s, err := snapshotOf(ctx, r, o.snapshot)
	if err != nil {
		return err
	}
	m := s.Member(o.member)
	if m == nil {
		var names []string
		for _, m := range s.Members {
			names = append(names, string(m.Name))
		}
		return &snapline.Error{Code: snapline.CodeNotFound, Message: fmt.Sprintf("snapshot %s has no member %s", s.ID, o.member), Hint: "it has " + strings.Join(names, ", ")}
	}
	file, err := filepath.Abs(o.output)
	if err != nil {
		return err
	}
	x := &export{r: r, p: p, o: o, id: s.ID, member: m, result: exported{ID: s.ID, Member: m.Name, Disk: o.disk, File: file}}
	switch {
	case o.disk != "":
		err = x.disk(ctx)
	case filepath.Ext(file) == ".qemu":
		x.result.Kind = "stream"
		err = x.file(ctx, m.Object.RawBytes, x.stream)
	default:
		x.result.Kind = kindMemory
		err = x.file(ctx, m.VM.RAMBytes, x.memory)
	}
	if errors.Is(err, fs.ErrExist) {
		return o.exists()
	}
	if err != nil {
		return err
	}
	return p.result(x.result, func() error {
		return p.line("wrote %s of %s of %s to %s (%s)", x.result.Kind, m.Name, s.ID, file, size(x.result.Bytes))
	})
}

// export writes one file.
type export struct {
	r      *openedRepository
	p      printer
	o      exportOptions
	id     snapline.SnapshotID
	member *snapline.MemberSnapshot
	result exported
	passed atomic.Int64
}

// file makes the file whole, or not at all.
func (x *export) file(ctx context.Context, total int64, fill func(context.Context, *os.File) error) (err error) {
	dir, name := filepath.Split(x.result.File)
	f, err := os.CreateTemp(dir, "."+name+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	stop := x.report(total)
	err = fill(ctx, f)
	stop()
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	if x.o.force {
		err = os.Rename(f.Name(), x.result.File)
	} else {
		err = os.Link(f.Name(), x.result.File) // fails when somebody was faster
	}
	if err != nil {
		return err
	}
	return syncFolder(x.result.File)
}

func (x *export) stream(ctx context.Context, f *os.File) error {
	s, err := x.r.Open(ctx, x.id, x.member.Name, x.member.Object)
	if err != nil {
		return err
	}
	defer s.Close()
	x.result.Bytes, err = io.Copy(&passing{f, &x.passed}, s)
	return err
}

func (x *export) memory(ctx context.Context, f *os.File) (err error) {
	x.result.Bytes, err = x.r.ExportRAM(ctx, x.id, x.member.Name, x.member.Object, &passingAt{f, &x.passed})
	if err != nil {
		return err
	}
	return f.Truncate(x.result.Bytes)
}

// disk writes a disk with all that lies below it.
func (x *export) disk(ctx context.Context) error {
	var d *snapline.DiskSnapshot
	var ids []string
	for i := range x.member.Disks {
		one := &x.member.Disks[i]
		ids = append(ids, diskID(*one))
		if one.ID == x.o.disk || one.Name == x.o.disk {
			d = one
		}
	}
	if d == nil {
		hint := "it has " + strings.Join(ids, ", ")
		if len(ids) == 0 {
			hint = "the snapshot holds no disks of this member"
		}
		return &snapline.Error{Code: snapline.CodeNotFound, Message: fmt.Sprintf("%s of %s has no disk %s", x.member.Name, x.id, x.o.disk), Hint: hint}
	}
	extents, err := x.r.OpenDisk(ctx, x.id, x.member.Name, d.Name, d.Object)
	if err != nil {
		return err
	}
	if b := d.Backing; b != nil {
		below, err := x.r.OpenDisk(ctx, x.id, x.member.Name, b.Name, b.Object)
		if err != nil {
			return err
		}
		extents = layered(extents, below, d.Size)
	}
	x.result.Kind, x.result.Bytes = kindDisk, d.Size
	stop := x.report(d.Size)
	defer stop()
	return disk.Materialise(ctx, disk.Target{Path: x.result.File, Format: strings.TrimPrefix(filepath.Ext(x.result.File), "."), Size: d.Size,
		Replace: x.o.force, UID: os.Getuid(), GID: os.Getgid(), Mode: 0o600}, x.watch(extents))
}

// watch counts how far the extents have come.
func (x *export) watch(extents iter.Seq2[snapline.Extent, error]) iter.Seq2[snapline.Extent, error] {
	return func(yield func(snapline.Extent, error) bool) {
		for e, err := range extents {
			if !yield(e, err) {
				return
			}
			x.passed.Store(e.Offset + e.Length)
		}
	}
}

// report shows how far the file is, until the returned function is called.
func (x *export) report(total int64) (stop func()) {
	d := x.p.display(snapline.Operation{Kind: "export", Snapshot: x.id})
	step := func() {
		d.step(snapline.Progress{At: time.Now(), Member: x.member.Name, Step: x.result.Kind, Bytes: min(x.passed.Load(), total), Total: total})
	}
	step()
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(refresh)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				step()
			case <-end:
				step()
				d.close()
				return
			}
		}
	}()
	return func() { close(end); <-ended }
}

// passing counts what is written.
type passing struct {
	io.Writer
	n *atomic.Int64
}

func (p *passing) Write(b []byte) (int, error) {
	n, err := p.Writer.Write(b)
	p.n.Add(int64(n))
	return n, err
}

// passingAt counts what is written, from several goroutines.
type passingAt struct {
	io.WriterAt
	n *atomic.Int64
}

func (p *passingAt) WriteAt(b []byte, off int64) (int, error) {
	n, err := p.WriterAt.WriteAt(b, off)
	p.n.Add(int64(n))
	return n, err
}
