package bpf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"

	"github.com/cilium/ebpf/perf"
	"github.com/cilium/ebpf/ringbuf"

	"github.com/snapline/snapline"
)

// frameBuffer is what each CPU may hold of frames in transit, in bytes: several
// of the largest that offloading makes.
const frameBuffer = 256 << 10

// recorder collects what the programs record, from the first Record on.
type recorder struct {
	records *ringbuf.Reader
	frames  *perf.Reader
	readers sync.WaitGroup

	depth *depth // of the VM's queue

	mu   sync.Mutex // guards the fields below
	got  snapline.Recording
	kept int // bytes
}

func newRecorder(ns namespace, objs *gateObjects, ports []port) (*recorder, error) {
	records, err := ringbuf.NewReader(objs.Records)
	if err != nil {
		return nil, err
	}
	frames, err := perf.NewReader(objs.Frames, frameBuffer)
	if err != nil {
		return nil, errors.Join(err, records.Close())
	}
	d, err := newDepth(ns, objs, ports)
	if err != nil {
		return nil, errors.Join(err, records.Close(), frames.Close())
	}
	r := &recorder{records: records, frames: frames, depth: d}
	r.readers.Go(r.readRecords)
	r.readers.Go(r.readFrames)
	return r, nil
}

// readRecords ends when the ring has been flushed or closed.
func (r *recorder) readRecords() {
	var raw ringbuf.Record
	for {
		if err := r.records.ReadInto(&raw); err != nil {
			return
		}
		p, ok := decodeRecord(raw.RawSample)
		r.mu.Lock()
		if ok {
			r.got.Packets = append(r.got.Packets, p)
		} else {
			r.got.Lost++
		}
		r.mu.Unlock()
	}
}

// frameHead is the size of struct frame_head, gate.c; frameMax what follows at
// the most.
const (
	frameHead = 24
	frameMax  = 65000
)

// keptMost bounds what is kept of frames, in bytes; the others count as lost.
const keptMost = 64 << 20

func (r *recorder) readFrames() {
	var raw perf.Record
	for {
		if err := r.frames.ReadInto(&raw); err != nil {
			return
		}
		r.mu.Lock()
		r.got.LostFrames += raw.LostSamples
		if f, ok := decodeFrame(raw.RawSample); ok {
			if r.kept += len(f.Data); r.kept <= keptMost {
				r.got.Frames = append(r.got.Frames, f)
			} else {
				r.got.LostFrames++
			}
		}
		r.mu.Unlock()
	}
}

// addresses is how much of an Ethernet frame comes before its VLAN tag.
const addresses = 12

// decodeFrame reads a sample, which may have some bytes behind its end.
func decodeFrame(b []byte) (snapline.Frame, bool) {
	if len(b) < frameHead {
		return snapline.Frame{}, false
	}
	f := snapline.Frame{At: snapline.Instant(binary.LittleEndian.Uint64(b)), Length: int(binary.LittleEndian.Uint32(b[8:])), Marked: b[15]&recordMarked != 0}
	n := min(f.Length, frameMax)
	if n > len(b)-frameHead {
		return f, false
	}
	data := b[frameHead:][:n]
	if tagged := b[14] != 0; tagged && n >= addresses {
		f.Data = append(f.Data, data[:addresses]...)
		f.Data = append(f.Data, b[16:18]...)
		f.Data = binary.BigEndian.AppendUint16(f.Data, binary.LittleEndian.Uint16(b[12:]))
		f.Length += 4
		data = data[addresses:]
	}
	f.Data = append(f.Data, data...)
	return f, true
}

// finish reads what is in the rings still, and closes them.
func (r *recorder) finish() (snapline.Recording, error) {
	r.got.Drained = r.depth.close()
	err := errors.Join(r.records.Flush(), r.frames.Flush())
	if err != nil { // they would be read for ever
		err = errors.Join(err, r.close())
	}
	r.readers.Wait()
	return r.got, errors.Join(err, r.close())
}

func (r *recorder) close() error {
	r.depth.close()
	return errors.Join(r.records.Close(), r.frames.Close())
}

// recordSize is that of struct record, gate.c.
const recordSize = 80

// The bits of a record.
const (
	recordInbound   = 1
	recordDiscarded = 2
	recordMarked    = 4
)

func decodeRecord(b []byte) (snapline.Packet, bool) {
	if len(b) < recordSize {
		return snapline.Packet{}, false
	}
	u16 := func(at int) uint16 { return binary.LittleEndian.Uint16(b[at:]) }
	u32 := func(at int) uint32 { return binary.LittleEndian.Uint32(b[at:]) }
	bits := b[77]
	p := snapline.Packet{
		At: snapline.Instant(binary.LittleEndian.Uint64(b)), Digest: binary.LittleEndian.Uint64(b[8:]),
		Sequence: u32(48), Acknowledgement: u32(52), Timestamp: u32(56), Length: u32(60),
		ID: u16(68), Fragment: u16(70), Window: u16(72), Protocol: b[74], Flags: b[75],
		Inbound: bits&recordInbound != 0, Withheld: bits&recordDiscarded != 0, Marked: bits&recordMarked != 0,
	}
	var from, to netip.Addr
	switch b[76] {
	case 4:
		from, to = netip.AddrFrom4([4]byte(b[16:20])), netip.AddrFrom4([4]byte(b[32:36]))
	case 6:
		from, to = netip.AddrFrom16([16]byte(b[16:32])), netip.AddrFrom16([16]byte(b[32:48]))
	default:
		return p, false // the headers could not be read
	}
	p.Source, p.Destination = netip.AddrPortFrom(from, u16(64)), netip.AddrPortFrom(to, u16(66))
	return p, true
}

// Record implements snapline.Gate.
func (g *Gate) Record(until snapline.Instant) error {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.closed {
		return fmt.Errorf("record packets: %w", os.ErrClosed)
	}
	g.rulesMu.Lock()
	defer g.rulesMu.Unlock()
	if g.recorder == nil {
		r, err := newRecorder(g.ns, g.objs, g.ports)
		if err != nil {
			return fmt.Errorf("record packets: %w", err)
		}
		g.recorder = r
	}
	g.rules.RecordUntil = uint64(max(until, snapline.Never))
	if g.rules.KeepUntil > 0 {
		g.rules.KeepUntil = g.rules.RecordUntil
	}
	if err := g.objs.Rules.Put(uint32(0), g.rules); err != nil {
		return fmt.Errorf("record packets: %w", err)
	}
	return nil
}

// Recorded implements snapline.Gate.
func (g *Gate) Recorded() (snapline.Recording, error) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.closed {
		return snapline.Recording{}, fmt.Errorf("read the recording: %w", os.ErrClosed)
	}
	g.rulesMu.Lock()
	defer g.rulesMu.Unlock()
	if g.recorder == nil {
		return snapline.Recording{}, nil
	}
	g.rules.RecordUntil, g.rules.KeepUntil = 0, 0
	err := g.objs.Rules.Put(uint32(0), g.rules)
	r, finishErr := g.recorder.finish()
	g.recorder = nil
	var perCPU []gateCounters
	if err = errors.Join(err, finishErr, g.objs.Counters.Lookup(uint32(0), &perCPU)); err != nil {
		return r, fmt.Errorf("read the recording: %w", err)
	}
	for _, c := range perCPU {
		r.Lost += c.Lost
		r.LostFrames += c.LostFrames
	}
	return r, nil
}
