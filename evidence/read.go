package evidence

import (
	"context"
	"fmt"
	"iter"

	"github.com/snapline/snapline"
)

// Source is the part of a repository that evidence is read from.
type Source interface {
	OpenDisk(ctx context.Context, id snapline.SnapshotID, m snapline.MemberName, name string, o snapline.Object) (iter.Seq2[snapline.Extent, error], error)
}

// maxObject bounds a stored trace or channel, in bytes.
const maxObject = 1 << 30

// Read reads a member's trace.
func Read(ctx context.Context, s Source, id snapline.SnapshotID, m snapline.MemberSnapshot) (snapline.Trace, error) {
	b, err := readObject(ctx, s, id, m.Name, snapline.TraceName, m.Evidence.Trace)
	if err != nil {
		return snapline.Trace{}, err
	}
	t, err := Decode(b, DefaultLimits())
	if err == nil && t.Member != m.Name {
		err = fmt.Errorf("it is of %s", t.Member)
	}
	if err != nil {
		return t, fmt.Errorf("trace of %s of %s: %w", m.Name, id, err)
	}
	return t, nil
}

// ReadAll reads the traces of a snapshot and the packets that were kept, and judges
// them.
func ReadAll(ctx context.Context, s Source, snapshot snapline.Snapshot) (*Report, error) {
	var group []Member
	var traces []snapline.Trace
	for _, m := range snapshot.Members {
		member := Member{Name: m.Name}
		if m.Evidence != nil {
			t, err := Read(ctx, s, snapshot.ID, m)
			if err != nil {
				return nil, err
			}
			traces = append(traces, t)
			member.Armed, member.Drained = m.Evidence.Armed, m.Evidence.Drained
			if member.Kept, err = readChannel(ctx, s, snapshot.ID, m); err != nil {
				return nil, err
			}
		}
		group = append(group, member)
	}
	return Match(group, traces), nil
}

func readChannel(ctx context.Context, s Source, id snapline.SnapshotID, m snapline.MemberSnapshot) ([]Frame, error) {
	if m.Evidence.Channel == nil {
		return nil, nil
	}
	b, err := readObject(ctx, s, id, m.Name, snapline.ChannelName, *m.Evidence.Channel)
	if err != nil {
		return nil, err
	}
	frames, err := ReadPcapng(b)
	if err != nil {
		return nil, fmt.Errorf("channel of %s of %s: %w", m.Name, id, err)
	}
	return frames, nil
}

func readObject(ctx context.Context, s Source, id snapline.SnapshotID, m snapline.MemberName, name string, o snapline.Object) ([]byte, error) {
	if o.RawBytes < 0 || o.RawBytes > maxObject {
		return nil, fmt.Errorf("%s of %s of %s: %w: %d bytes", name, m, id, snapline.ErrDamaged, o.RawBytes)
	}
	extents, err := s.OpenDisk(ctx, id, m, name, o)
	if err != nil {
		return nil, err
	}
	b := make([]byte, o.RawBytes)
	for e, err := range extents {
		if err != nil {
			return nil, err
		}
		if e.Offset < 0 || e.Offset > o.RawBytes {
			return nil, fmt.Errorf("%s of %s of %s: %w", name, m, id, snapline.ErrDamaged)
		}
		copy(b[e.Offset:], e.Data)
	}
	return b, nil
}
