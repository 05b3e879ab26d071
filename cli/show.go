package cli

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/api"
)

type showOptions struct {
	snapshot snapline.SnapshotID
	pcap     string
	diagram  string
}

func showCommand(e *env) *cobra.Command {
	var f directFlags
	var o showOptions
	cmd := &cobra.Command{
		Use:   "show SNAPSHOT",
		Short: "Show a snapshot",
		Long: `Show a snapshot: its members, disks, cut, and what the packets prove that were
recorded while the cut was made.

--diagram writes a page for a browser: the cut in space and time, a lane for each
member and an arrow for each packet. --pcap writes the packets that were in
transit across the cut, for Wireshark. Both read the repository themselves and
so need a key; without --repo the coordinator is asked where it is.`,
		Example: `  snapline show etcd-7
  snapline show etcd-7 --diagram cut.html --key-file /etc/snapline/key
  snapline show etcd-7 --pcap etcd-7.pcapng --key-file /etc/snapline/key
  snapline show etcd-7 --json | jq '.members[].vm.args'`,
		SuggestFor:        []string{"inspect", "describe"},
		Args:              exactly("SNAPSHOT"),
		ValidArgsFunction: e.completeSnapshots(),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := snapshotArg(args[0])
			if err != nil {
				return err
			}
			o.snapshot = id
			if o.pcap != "" || o.diagram != "" {
				return e.withSnapshots(cmd.Context(), &f, func(r *openedRepository, p printer) error {
					return runShowEvidence(cmd.Context(), r, p, o)
				})
			}
			return e.with(func(svc api.Service, p printer) error { return runShow(cmd.Context(), svc, p, o) })
		},
	}
	f.register(cmd.Flags())
	cmd.Flags().StringVar(&o.diagram, "diagram", "", "`FILE` to write the diagram of the cut to (HTML, self-contained)")
	cmd.Flags().StringVar(&o.pcap, "pcap", "", "`FILE` to write the packets in transit to (pcapng)")
	return cmd
}

func runShow(ctx context.Context, svc api.Service, p printer, o showOptions) error {
	s, err := svc.Snapshot(ctx, o.snapshot)
	if err != nil {
		return err
	}
	return p.result(s, func() error {
		if err := printSnapshot(p, s); err != nil {
			return err
		}
		return printRestores(ctx, svc, p, s)
	})
}

// printRestores says when the snapshot was brought back, and what that has
// taken back. An older coordinator has no log.
func printRestores(ctx context.Context, svc api.Service, p printer, s snapline.Snapshot) error {
	events, err := svc.Events(ctx, s.Group.Name, 0)
	if err != nil {
		p.note("whether it was restored is not known: %v", err)
		return nil
	}
	for _, e := range events {
		if e.Snapshot != s.ID || e.Lost == nil {
			continue
		}
		if err := printLost(p, e.At, *e.Lost); err != nil {
			return err
		}
	}
	return nil
}

// printLost says what a restore has taken back, and who may have seen it.
func printLost(p printer, at time.Time, l snapline.LostInterval) error {
	err := p.line("restored %s: what the group did since the snapshot is lost (%s)", when(at), l.To.Sub(l.From).Round(time.Second))
	if len(l.Peers) == 0 {
		err = errors.Join(err, p.line("  no address outside the group is known to have seen it"))
	}
	for _, o := range l.Peers {
		seen := "it was seen during the cut"
		if o.Last != nil {
			seen = "the last packet for it left " + when(*o.Last)
		}
		err = errors.Join(err, p.line("  %s: %v may have seen it; %s", o.Member, o.Address, seen))
	}
	err = errors.Join(err, p.line("  known from %s", l.PeersFrom))
	for _, g := range l.Gaps {
		err = errors.Join(err, p.line("  - %s", g))
	}
	return err
}

func printSnapshot(p printer, s snapline.Snapshot) error {
	if err := p.line("snapshot %s of group %s, taken %s", s.ID, s.Group.Name, when(s.TakenAt)); err != nil {
		return err
	}
	if s.Note != "" {
		if err := p.line("note: %s", s.Note); err != nil {
			return err
		}
	}
	var rows [][]any
	for _, m := range s.Members {
		rows = append(rows, []any{m.Name, m.Host, m.VM.Machine, m.VM.Accel, ms(m.Capture.PauseMS), size(m.VM.RAMBytes), size(m.Object.StoredBytes),
			m.Counters.Withheld, m.Object.Digest[:min(12, len(m.Object.Digest))]})
	}
	err := p.table([]column{left("MEMBER"), left("HOST"), left("MACHINE"), left("ACCEL"), right("PAUSE"), right("RAM"), right("STORED"), right("WITHHELD"), left("DIGEST")}, rows)
	if err != nil {
		return err
	}
	for _, m := range s.Members {
		if err := printMethod(p, m.Name, m.Capture.Method, m.Capture.Why); err != nil {
			return err
		}
	}
	return errors.Join(printDisks(p, s), printCut(p, s.Cut), printVerdict(p, s.Verdict), printPeers(p, s.Verdict))
}

// printDisks lists the disks, if any member has some.
func printDisks(p printer, s snapline.Snapshot) error {
	var rows [][]any
	for _, m := range s.Members {
		for _, d := range m.Disks {
			below := ""
			if d.Backing != nil {
				below = d.Backing.Path
			}
			rows = append(rows, []any{m.Name, d.ID, d.Format, size(d.Size), size(d.Object.StoredBytes), d.Path, below})
		}
	}
	if len(rows) == 0 {
		return nil
	}
	return p.table([]column{left("MEMBER"), left("DISK"), left("FORMAT"), right("SIZE"), right("STORED"), left("PATH"), left("BACKING FILE")}, rows)
}

// printVerdict tells what the recorded packets prove.
func printVerdict(p printer, v *snapline.Verdict) error {
	if v == nil {
		return nil
	}
	err := p.line("%s", v.Text)
	if more := !(len(v.Reasons) == 1 && strings.HasSuffix(v.Text, v.Reasons[0])); more && v.State != snapline.Consistent {
		err = errors.Join(err, printReasons(p, v.Reasons))
	}
	if v.Channel != nil {
		err = errors.Join(err, p.line("%s", v.Channel.Text), printReasons(p, v.Channel.Reasons))
	}
	return err
}

func printReasons(p printer, reasons []string) (err error) {
	for _, why := range reasons {
		err = errors.Join(err, p.line("  %s", why))
	}
	return err
}

// printPeers names who knows what a restore does not take back.
func printPeers(p printer, v *snapline.Verdict) error {
	if v == nil || len(v.Peers) == 0 {
		return nil
	}
	different := map[netip.Addr]bool{}
	for _, o := range v.Peers {
		different[o.Address] = true
	}
	err := p.line("talks to %s outside the group: a restore will not take these back", count(uint64(len(different)), "address"))
	for _, o := range v.Peers {
		err = errors.Join(err, p.line("  %s: %v, %d packets in, %d out, while the cut was made", o.Member, o.Address, o.In, o.Out))
	}
	return err
}

func printCut(p printer, c snapline.CutReport) error {
	return p.line("cut: %s, %s, skew %s, %s withheld, %d marked", c.Strategy, ms(c.DurationMS), ms(c.SkewMS), count(c.Withheld, "packet"), c.Marked)
}

// bestMethod is the capture method that needs no words.
const bestMethod = "background-snapshot"

// printMethod tells when a member's capture was not the best there is.
func printMethod(p printer, m snapline.MemberName, method, why string) error {
	if method == bestMethod {
		return nil
	}
	if why != "" {
		why = ": " + why
	}
	return p.line("%s was captured by %s%s", m, method, why)
}
