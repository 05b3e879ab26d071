package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/diagram"
	"github.com/snapline/snapline/evidence"
)

// runShowEvidence writes the files that the flags ask for.
func runShowEvidence(ctx context.Context, r *openedRepository, p printer, o showOptions) error {
	s, err := snapshotOf(ctx, r, o.snapshot)
	if err != nil {
		return err
	}
	if o.diagram != "" {
		if err := writeDiagram(ctx, r, p, s, o.diagram); err != nil {
			return err
		}
	}
	if o.pcap == "" {
		return nil
	}
	var frames int
	var lost uint64
	err = writeNew(o.pcap, func(w io.Writer) error {
		frames, lost, err = writeChannels(ctx, r, s, w)
		return err
	})
	if err != nil {
		return err
	}
	p.note("%s: %s in transit", o.pcap, count(frames, "packet"))
	if lost > 0 {
		p.note("%s more could not be kept", count(lost, "packet"))
	}
	return nil
}

// diagramMost is how many arrows a browser draws without getting slow.
const diagramMost = 20_000

func writeDiagram(ctx context.Context, r *openedRepository, p printer, s snapline.Snapshot, path string) error {
	report, err := evidence.ReadAll(ctx, r, s)
	if err != nil {
		return err
	}
	d := report.Diagram(diagramMost)
	if err := writeNew(path, func(w io.Writer) error { return diagram.Write(w, d, "Cut of snapshot "+string(s.ID)) }); err != nil {
		return err
	}
	p.note("%s: %s", path, d.Verdict)
	if d.Left > 0 {
		p.note("%s of those furthest from the cut are left out", count(d.Left, "packet"))
	}
	return nil
}

// writeChannels writes the members' packets in transit one after the other: a
// pcapng file may have several sections (draft-ietf-opsawg-pcapng, 3.2).
func writeChannels(ctx context.Context, r *openedRepository, s snapline.Snapshot, w io.Writer) (frames int, lost uint64, err error) {
	for _, m := range s.Members {
		b, err := evidence.ReadChannel(ctx, r, s.ID, m)
		if err != nil {
			return frames, lost, err
		}
		if _, err := w.Write(b); err != nil {
			return frames, lost, err
		}
		if m.Evidence != nil {
			frames += m.Evidence.Frames
			lost += m.Evidence.LostFrames
		}
	}
	if frames == 0 {
		err = evidence.WritePcapng(w, nil) // an empty file is none
	}
	return frames, lost, err
}

// writeNew writes a file that must not exist; nothing of it is left after an
// error.
func writeNew(path string, write func(io.Writer) error) error {
	var b bytes.Buffer
	if err := write(&b); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return invalid("choose another name, or remove it", "%s exists", path)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(b.Bytes())
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, errors.Join(err, os.Remove(path)))
	}
	return nil
}
