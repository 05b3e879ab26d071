package node

import (
	"bytes"
	"context"
	"net/netip"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/evidence"
)

// evidenceOfRound is what one member's gate records in one round.
type evidenceOfRound struct {
	recorded chan struct{} // closed when recording has ended

	mu           sync.Mutex // guards the fields below
	armed        snapline.Instant
	began, ended snapline.Instant
	recording    snapline.Recording
	err          error
}

// recordFrom begins to record some time before the first rule can take effect:
// of a packet that is under way when the recording begins, only the arrival is
// recorded.
func (d *round) recordFrom(now snapline.Instant) error {
	if d.gate == nil {
		return nil
	}
	return d.gate.Record(now.Add(probedFor))
}

// record goes on for a while after the last rule could have ended by itself.
func (d *round) record(now snapline.Instant, rules snapline.GateRules) error {
	last := max(rules.MarkUntil, rules.ShieldUntil)
	if last <= snapline.Never {
		return nil
	}
	d.evidence.setArmed(now)
	return d.gate.Record(last.Add(lingerFor))
}

// setArmed notes when the first rule came.
func (e *evidenceOfRound) setArmed(at snapline.Instant) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.armed == snapline.Never {
		e.armed = at
	}
}

func (e *evidenceOfRound) setCut(began, ended snapline.Instant) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.began, e.ended = began, ended
}

// finish lets packets that are in transit arrive, and ends the recording.
func (e *evidenceOfRound) finish(ctx context.Context, gate snapline.Gate) {
	select {
	case <-ctx.Done():
	case <-time.After(lingerFor):
	}
	recording, err := gate.Recorded()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.recording, e.err = recording, err
	close(e.recorded)
}

// storeEvidence puts what was recorded into the repository: nil when there was
// no gate. That something could not be recorded is for the verdict to say, and
// no reason to give up the snapshot.
func (r *memberRunner) storeEvidence(d *round, repo snapline.Repository, id snapline.SnapshotID) (*snapline.MemberEvidence, error) {
	if d.strategy == snapline.Barrier {
		return nil, nil
	}
	select {
	case <-d.evidence.recorded: // after DISARM
	case <-d.ctx.Done():
		return nil, context.Cause(d.ctx)
	}
	d.evidence.mu.Lock()
	defer d.evidence.mu.Unlock()
	got := d.evidence.recording
	trace := snapline.Trace{Member: r.key.member, Host: r.agent.Host, CutBegan: d.evidence.began, CutEnded: d.evidence.ended,
		Paused: d.report.Paused, Resumed: d.report.Resumed, Lost: got.Lost, Packets: got.Packets}
	if d.evidence.err != nil {
		r.agent.Log.Warn("record packets", "member", r.key.member, "error", d.evidence.err)
		trace.Lost++ // how many is not known
	}
	b, err := evidence.Encode(trace)
	if err != nil {
		return nil, err
	}
	e := &snapline.MemberEvidence{Packets: len(got.Packets), LostFrames: got.LostFrames, Armed: d.evidence.armed, Drained: drained(got.Drained, trace.Paused),
		Addresses: sources(got.Packets)}
	if e.Trace, err = r.storeBytes(d, repo, id, snapline.TraceName, b); err != nil {
		return nil, err
	}
	frames := r.frames(got.Frames, trace)
	if e.Frames = len(frames); e.Frames == 0 {
		return e, nil
	}
	var channel bytes.Buffer
	if err := evidence.WritePcapng(&channel, frames); err != nil {
		return nil, err
	}
	o, err := r.storeBytes(d, repo, id, snapline.ChannelName, channel.Bytes())
	e.Channel = &o
	return e, err
}

// sources are the addresses that a member was seen to send from.
func sources(packets []snapline.Packet) []netip.Addr {
	var all []netip.Addr
	for i := range packets {
		a := packets[i].Source.Addr()
		if packets[i].Inbound || a.IsUnspecified() || !a.IsValid() || slices.Contains(all, a) {
			continue
		}
		if all = append(all, a); len(all) == snapline.MaxAddresses {
			break
		}
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return all
}

// drained is the last of several instants that is not after the pause began.
func drained(all []snapline.Instant, paused snapline.Instant) snapline.Instant {
	n := sort.Search(len(all), func(i int) bool { return all[i] > paused })
	if n == 0 {
		return snapline.Never
	}
	return all[n-1]
}

// frames puts those that may have been in transit on the wall clock: what came
// after the VM stood still, and what was marked, wherever it came.
func (r *memberRunner) frames(list []snapline.Frame, t snapline.Trace) []evidence.Frame {
	after := t.Paused
	if after == snapline.Never {
		after = t.CutEnded
	}
	now, wall := r.agent.Clock.Now(), r.agent.Clock.Wall()
	var out []evidence.Frame
	for _, f := range list {
		if f.At <= after && !f.Marked {
			continue
		}
		out = append(out, evidence.Frame{Member: r.key.member, At: wall.Add(f.At.Sub(now)).UnixNano(), ID: uint64(f.At), Data: f.Data, Length: f.Length})
	}
	return out
}

func (r *memberRunner) storeBytes(d *round, repo snapline.Repository, id snapline.SnapshotID, name string, b []byte) (snapline.Object, error) {
	return repo.PutDisk(d.ctx, id, r.key.member, name, snapline.DiskContent{
		Size: int64(len(b)),
		Extents: func(yield func(snapline.Extent, error) bool) {
			yield(snapline.Extent{Length: int64(len(b)), Data: b}, nil)
		},
	})
}
