package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/evidence"
)

func verifyCommand(e *env) *cobra.Command {
	var f directFlags
	var deep bool
	cmd := &cobra.Command{
		Use:   "verify SNAPSHOT",
		Short: "Check that a snapshot can be restored",
		Long: `Check that all data of a snapshot is there: each member's memory, disks and the
files below them. Without --deep, page maps are read and packs must be there;
with it, every page is read and hashed, as a restore would. What the recorded
packets prove of the cut is worked out again, by comparing what left one member
with what reached another.

It reads the repository itself, so it needs a key. Without --repo it asks the
coordinator where the repository is. Damage is exit status 7; the reasons name
member, disk and pages.`,
		Example: `  snapline verify etcd-7 --key-file /etc/snapline/key
  snapline verify etcd-7 --deep --repo /srv/snapline --key-file /etc/snapline/key`,
		SuggestFor:        []string{"check", "test"},
		Args:              exactly("SNAPSHOT"),
		ValidArgsFunction: e.completeSnapshots(),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := snapshotArg(args[0])
			if err != nil {
				return err
			}
			return e.withSnapshots(cmd.Context(), &f, func(r *openedRepository, p printer) error {
				return runVerify(cmd.Context(), r, p, id, deep)
			})
		},
	}
	f.register(cmd.Flags())
	cmd.Flags().BoolVar(&deep, "deep", false, "read and hash every page")
	return cmd
}

// verified is the JSON of "verify".
type verified struct {
	ID      snapline.SnapshotID `json:"id"`
	State   string              `json:"state"` // ok; damage is an error
	Deep    bool                `json:"deep"`
	Objects []verifiedObject    `json:"objects"`
	Verdict *snapline.Verdict   `json:"verdict,omitempty"`
}

// verifiedObject is one thing of a snapshot that is stored by itself.
type verifiedObject struct {
	Member snapline.MemberName `json:"member"`
	// Kind is memory, disk, backing, trace or channel; Disk is the disk's id in the
	// VM.
	Kind     string `json:"kind"`
	Disk     string `json:"disk,omitempty"`
	RawBytes int64  `json:"raw_bytes"`

	name   string // in the repository; "" for memory
	object snapline.Object
}

func (o verifiedObject) String() string {
	switch o.Kind {
	case kindMemory:
		return kindMemory
	case kindBacking:
		return "backing file of disk " + o.Disk
	case snapline.TraceName:
		return "trace of the cut"
	case snapline.ChannelName:
		return "packets in transit"
	}
	return "disk " + o.Disk
}

// The kinds of a verifiedObject.
const (
	kindMemory  = "memory"
	kindDisk    = "disk"
	kindBacking = "backing"
)

func objectsOf(s snapline.Snapshot) (list []verifiedObject) {
	for _, m := range s.Members {
		list = append(list, verifiedObject{Member: m.Name, Kind: kindMemory, RawBytes: m.Object.RawBytes, object: m.Object})
		for _, d := range m.Disks {
			list = append(list, verifiedObject{Member: m.Name, Kind: kindDisk, Disk: diskID(d), RawBytes: d.Object.RawBytes, name: d.Name, object: d.Object})
			if b := d.Backing; b != nil {
				list = append(list, verifiedObject{Member: m.Name, Kind: kindBacking, Disk: diskID(d), RawBytes: b.Object.RawBytes, name: b.Name, object: b.Object})
			}
		}
		if e := m.Evidence; e != nil {
			list = append(list, verifiedObject{Member: m.Name, Kind: snapline.TraceName, RawBytes: e.Trace.RawBytes, name: snapline.TraceName, object: e.Trace})
			if c := e.Channel; c != nil {
				list = append(list, verifiedObject{Member: m.Name, Kind: snapline.ChannelName, RawBytes: c.RawBytes, name: snapline.ChannelName, object: *c})
			}
		}
	}
	return list
}

// diskID is what people call a disk: its id in the VM, or its name in the
// repository.
func diskID(d snapline.DiskSnapshot) string {
	if d.ID != "" {
		return d.ID
	}
	return d.Name
}

func runVerify(ctx context.Context, r *openedRepository, p printer, id snapline.SnapshotID, deep bool) error {
	s, err := snapshotOf(ctx, r, id)
	if err != nil {
		return err
	}
	result := verified{ID: id, State: "ok", Deep: deep, Objects: objectsOf(s)}
	var bad []snapline.Reason
	for _, o := range result.Objects {
		err := verifyObject(ctx, r, id, o, deep)
		switch {
		case err == nil:
			p.note("%s %s: ok, %s", o.Member, o, size(o.RawBytes))
		case errors.Is(err, snapline.ErrDamaged):
			p.note("%s %s: damaged", o.Member, o)
			bad = append(bad, whatIsLost(ctx, r, id, o, err)...)
		default:
			return err
		}
	}
	if bad != nil {
		if _, err := r.Snapshot(ctx, id); errors.Is(err, snapline.ErrNotFound) {
			return &snapline.Error{Code: snapline.CodeNotFound, Message: fmt.Sprintf("snapshot %s was deleted meanwhile", id), Err: err}
		}
		return &snapline.Error{Code: snapline.CodeDamaged, Message: fmt.Sprintf("snapshot %s is damaged", id), Reasons: bad,
			Hint: "see what else is with: snapline repo check; restore another snapshot, or bring the blobs that are named back from a copy"}
	}
	if result.Verdict, err = verifyCut(ctx, r, s); err != nil {
		return err
	}
	return p.result(result, func() error {
		if err := printVerdict(p, result.Verdict); err != nil {
			return err
		}
		how := "all its pages are known and their packs are there; --deep reads them"
		if deep {
			how = "every page was read"
		}
		return p.line("snapshot %s is whole: %s", id, how)
	})
}

// verifyCut judges the cut by its traces again: nil when nothing was recorded.
func verifyCut(ctx context.Context, r *openedRepository, s snapline.Snapshot) (*snapline.Verdict, error) {
	if s.Verdict == nil {
		return nil, nil
	}
	report, err := evidence.ReadAll(ctx, r, s)
	if err != nil {
		return nil, err
	}
	v := report.Summary()
	if v.State == snapline.Inconsistent {
		return nil, &snapline.Error{Code: snapline.CodeDamaged, Message: fmt.Sprintf("snapshot %s is no consistent cut: %s", s.ID, v.Text),
			Hint: "restore another one", Reasons: reasonsOf(v)}
	}
	if v.State != s.Verdict.State {
		return nil, &snapline.Error{Code: snapline.CodeDamaged, Message: fmt.Sprintf("the record of %s says %q, its traces prove %q", s.ID, s.Verdict.Text, v.Text)}
	}
	if was := s.Verdict.Channel; was != nil && (v.Channel == nil || was.Complete && !v.Channel.Complete) {
		return nil, &snapline.Error{Code: snapline.CodeDamaged, Message: fmt.Sprintf("the record of %s says %q, its traces show something else", s.ID, was.Text)}
	}
	return v, nil
}

func reasonsOf(v *snapline.Verdict) (list []snapline.Reason) {
	for _, text := range v.Reasons {
		list = append(list, snapline.Reason{Text: text})
	}
	return list
}

// snapshotOf reads a record, and says what to do when there is none.
func snapshotOf(ctx context.Context, r *openedRepository, id snapline.SnapshotID) (snapline.Snapshot, error) {
	s, err := r.Snapshot(ctx, id)
	if errors.Is(err, snapline.ErrNotFound) {
		return s, &snapline.Error{Code: snapline.CodeNotFound, Message: fmt.Sprintf("there is no snapshot %s in the repository at %s", id, r.Location()), Hint: "snapline list shows those that there are", Err: err}
	}
	return s, err
}

func verifyObject(ctx context.Context, r *openedRepository, id snapline.SnapshotID, o verifiedObject, deep bool) error {
	switch {
	case o.name == "" && deep:
		return r.Verify(ctx, id, o.Member, o.object)
	case o.name == "":
		return r.VerifyQuick(ctx, id, o.Member, o.object)
	case deep:
		return r.VerifyDisk(ctx, id, o.Member, o.name, o.object)
	}
	return r.VerifyDiskQuick(ctx, id, o.Member, o.name, o.object)
}

// whatIsLost names the pages, if that can be found out.
func whatIsLost(ctx context.Context, r *openedRepository, id snapline.SnapshotID, o verifiedObject, err error) (reasons []snapline.Reason) {
	problems, lookErr := r.Lost(ctx, id, o.Member, o.name)
	if lookErr != nil || len(problems) == 0 {
		return []snapline.Reason{{Member: o.Member, Text: o.String() + ": " + err.Error(), Damaged: true}}
	}
	for _, p := range problems {
		text := p.Text
		if p.Blob != "" {
			text = p.Blob + ": " + text
		}
		if p.Pages {
			text = fmt.Sprintf("pages %d to %d: %s", p.First, p.Last, text)
		}
		if p.Part != "" && o.Kind == kindMemory {
			text = p.Part + ": " + text
		}
		reasons = append(reasons, snapline.Reason{Member: o.Member, Text: o.String() + ": " + text, Damaged: true})
	}
	return reasons
}
