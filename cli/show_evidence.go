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
	report, err := evidence.ReadAll(ctx, r, s)
	if err != nil {
		return err
	}
	var frames []evidence.Frame
	for _, d := range report.Channel.Deliveries {
		frames = append(frames, d.Frame)
	}
	if err := writeNew(o.pcap, func(w io.Writer) error { return evidence.WritePcapng(w, frames) }); err != nil {
		return err
	}
	p.note("%s: %s", o.pcap, report.Channel.Text)
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
