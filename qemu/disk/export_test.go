package disk

import "context"

// At has f called at each named step.
func (s *Store) At(f func(step string)) { s.at = f }

// Slow limits live merges to so many bytes per second.
func (s *Store) Slow(speed int64) { s.speed = speed }

// Parse and decode functions for the fuzz tests.
var (
	DecodeJournal = decodeJournal
	MapEntries    = mapEntries
	LocalPath     = localPath
	CheckKind     = checkKind
	CheckFile     = checkFile
	StoredOutside = storedOutside
	JournalPath   = journalPath
	DecodeRecord  = decodeExchange
	WriteJournal  = func(qmp string, disks int) []byte {
		p := plan{Format: planFormat, QMP: qmp}
		for range disks {
			p.Disks = append(p.Disks, planEntry{Base: "/b", BaseFormat: "raw", Overlay: "/o", Node: "n"})
		}
		head, _ := encodeEntry(entry{Plan: &p})
		for i := range disks {
			line, _ := encodeEntry(entry{Disk: i, Step: switched, Base: &identity{Size: 1}})
			head = append(head, line...)
		}
		return head
	}
)

// OpenChain describes a disk that no VM has open.
func OpenChain(ctx context.Context, path, format string) (Disk, error) {
	files, err := chain(ctx, path, format)
	if err != nil {
		return Disk{}, err
	}
	return Disk{ID: "d", Path: path, Format: format, Size: files[0].VirtualSize, files: files}, nil
}

// Still is the frozen disk of a chain that nobody writes to.
func Still(d Disk) *frozen { return &frozen{set: &Set{disks: []Disk{d}}, layer: newLayer(d)} }

// StillIn is Still with what a store remembers.
func StillIn(s *Store, d Disk) *frozen {
	return &frozen{set: &Set{store: s, disks: []Disk{d}}, layer: newLayer(d)}
}
