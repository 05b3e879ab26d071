package disk

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"os"

	"github.com/snapline/snapline"
)

// The qcow2 format, version 3, as QEMU's docs/interop/qcow2.txt has it. All
// numbers are big-endian. Because extents come in order, clusters are laid out
// one after the other, and every cluster is referred to once.
const (
	qcow2Magic       = 0x514649fb
	qcow2HeaderSize  = 104
	qcow2RefBits     = 4 // 16-bit reference counts
	qcow2BackingExt  = 0xe2792aca
	qcow2Copied      = 1 << 63 // the reference count is one
	qcow2Zero        = 1       // reads as zeros, whatever the backing file has
	qcow2MostL1Bytes = 32 << 20
	defaultCluster   = 64 << 10
)

// qcow2 writes one image. It holds one cluster, one second-level table and the
// first-level table in memory.
type qcow2 struct {
	f       *os.File
	target  Target
	cluster int64
	next    int64 // where the next cluster goes

	l1      []byte
	l1At    int64
	l2      []byte
	l2Index int64 // of the table in l2; -1: none
	buffer  []byte
	index   int64 // of the guest's cluster in buffer; -1: none
}

func newQcow2(f *os.File, t Target) (*qcow2, error) {
	c := t.ClusterSize
	if c == 0 {
		c = defaultCluster
	}
	if c < 512 || c > 2<<20 || c&(c-1) != 0 {
		return nil, fmt.Errorf("cluster size %d: want a power of two from 512 to 2 MiB", c)
	}
	perTable := c * (c / 8) // bytes of the disk
	entries := (t.Size + perTable - 1) / perTable
	if entries*8 > qcow2MostL1Bytes {
		return nil, fmt.Errorf("a disk of %d bytes is too large for clusters of %d", t.Size, c)
	}
	w := &qcow2{
		f: f, target: t, cluster: c, next: c, l1At: c, l2Index: -1, index: -1,
		l1: make([]byte, max(entries, 1)*8), l2: make([]byte, c), buffer: make([]byte, c),
	}
	w.allocate(int64(len(w.l1)))
	return w, nil
}

// allocate reserves whole clusters for n bytes.
func (w *qcow2) allocate(n int64) (at int64) {
	at = w.next
	w.next += (n + w.cluster - 1) / w.cluster * w.cluster
	return at
}

func (w *qcow2) write(e snapline.Extent) error {
	if end := e.Offset + e.Length; w.target.Backing != "" && (e.Offset%w.cluster != 0 || end%w.cluster != 0 && end != w.target.Size) {
		return fmt.Errorf("extent at %d of %d bytes does not fit clusters of %d", e.Offset, e.Length, w.cluster)
	}
	if e.Data == nil && w.target.Backing == "" {
		return nil
	}
	for done := int64(0); done < e.Length; {
		at := e.Offset + done
		if i := at / w.cluster; i != w.index {
			if err := w.flushCluster(); err != nil {
				return err
			}
			w.index = i
			clear(w.buffer)
		}
		n := min(e.Length-done, w.cluster-at%w.cluster)
		if e.Data != nil {
			copy(w.buffer[at%w.cluster:], e.Data[done:done+n])
		}
		done += n
	}
	return nil
}

// flushCluster gives the buffered cluster its place.
func (w *qcow2) flushCluster() error {
	if w.index < 0 {
		return nil
	}
	entry := uint64(qcow2Zero)
	if !allZero(w.buffer) {
		at := w.allocate(w.cluster)
		if _, err := w.f.WriteAt(w.buffer, at); err != nil {
			return err
		}
		entry = uint64(at) | qcow2Copied
	} else if w.target.Backing == "" {
		return nil
	}
	perTable := w.cluster / 8
	if table := w.index / perTable; table != w.l2Index {
		if err := w.flushTable(); err != nil {
			return err
		}
		w.l2Index = table
		clear(w.l2)
	}
	binary.BigEndian.PutUint64(w.l2[w.index%perTable*8:], entry)
	return nil
}

// flushTable gives the second-level table its place.
func (w *qcow2) flushTable() error {
	if w.l2Index < 0 {
		return nil
	}
	at := w.allocate(w.cluster)
	binary.BigEndian.PutUint64(w.l1[w.l2Index*8:], uint64(at)|qcow2Copied)
	_, err := w.f.WriteAt(w.l2, at)
	return err
}

func (w *qcow2) finish() error {
	if err := w.flushCluster(); err != nil {
		return err
	}
	if err := w.flushTable(); err != nil {
		return err
	}
	if _, err := w.f.WriteAt(w.l1, w.l1At); err != nil {
		return err
	}
	table, clusters, err := w.writeRefcounts()
	if err != nil {
		return err
	}
	head, err := w.header(table, clusters)
	if err != nil {
		return err
	}
	if _, err := w.f.WriteAt(head, 0); err != nil {
		return err
	}
	return w.f.Truncate(w.next) // the last cluster whole
}

// writeRefcounts says that every cluster so far, and those of the counts
// themselves, is used once. It returns the table's place and clusters.
func (w *qcow2) writeRefcounts() (table, tableClusters int64, err error) {
	perBlock := w.cluster / 2
	used := w.next / w.cluster
	blocks, total := int64(0), int64(0)
	for { // the counts count themselves
		total = used + blocks + tableClusters
		b := (total + perBlock - 1) / perBlock
		t := (b*8 + w.cluster - 1) / w.cluster
		if b == blocks && t == tableClusters {
			break
		}
		blocks, tableClusters = b, t
	}
	table = w.allocate(tableClusters * w.cluster)
	places := make([]byte, tableClusters*w.cluster)
	block := make([]byte, w.cluster)
	for i := range blocks {
		at := w.allocate(w.cluster)
		binary.BigEndian.PutUint64(places[i*8:], uint64(at))
		clear(block)
		for k := range min(perBlock, total-i*perBlock) {
			binary.BigEndian.PutUint16(block[k*2:], 1)
		}
		if _, err := w.f.WriteAt(block, at); err != nil {
			return 0, 0, err
		}
	}
	_, err = w.f.WriteAt(places, table)
	return table, tableClusters, err
}

func (w *qcow2) header(refTable, refClusters int64) ([]byte, error) {
	be := binary.BigEndian
	var ext []byte // backing file's format, end of extensions
	if w.target.Backing != "" {
		format := w.target.BackingFormat
		ext = be.AppendUint32(be.AppendUint32(ext, qcow2BackingExt), uint32(len(format)))
		ext = append(ext, format...)
		ext = append(ext, make([]byte, -len(ext)&7)...)
	}
	ext = append(ext, make([]byte, 8)...)
	name := w.target.Backing
	nameAt := qcow2HeaderSize + len(ext)
	if len(name) > 1023 || int64(nameAt+len(name)) > w.cluster {
		return nil, fmt.Errorf("backing file name %s is too long", name)
	}
	h := be.AppendUint32(nil, qcow2Magic)
	h = be.AppendUint32(h, 3)
	if name == "" {
		h = be.AppendUint64(h, 0)
	} else {
		h = be.AppendUint64(h, uint64(nameAt))
	}
	h = be.AppendUint32(h, uint32(len(name)))
	h = be.AppendUint32(h, uint32(bits.TrailingZeros64(uint64(w.cluster))))
	h = be.AppendUint64(h, uint64(w.target.Size))
	h = be.AppendUint32(h, 0) // not encrypted
	h = be.AppendUint32(h, uint32(len(w.l1)/8))
	h = be.AppendUint64(h, uint64(w.l1At))
	h = be.AppendUint64(h, uint64(refTable))
	h = be.AppendUint32(h, uint32(refClusters))
	h = append(h, make([]byte, 4+8+3*8)...) // no snapshots, no feature bits
	h = be.AppendUint32(h, qcow2RefBits)
	h = be.AppendUint32(h, qcow2HeaderSize)
	return append(append(h, ext...), name...), nil
}
