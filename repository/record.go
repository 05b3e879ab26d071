package repository

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/repository/seal"
)

// maxRecord bounds a record's text, in bytes.
const maxRecord = 64 << 20

// encodeRecord returns a manifest's bytes.
func encodeRecord(m *seal.Master, s snapline.Snapshot) ([]byte, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	packed, err := compressText(text)
	if err != nil {
		return nil, err
	}
	return m.Seal(seal.ManifestMagic, manifestName(s.ID), packed), nil
}

// decodeRecord returns the record of that id.
func decodeRecord(m *seal.Master, id snapline.SnapshotID, b []byte) (snapline.Snapshot, error) {
	var none snapline.Snapshot
	packed, err := m.Open(seal.ManifestMagic, manifestName(id), b)
	if err != nil {
		return none, err
	}
	text, err := decompressText(packed, maxRecord)
	if err != nil {
		return none, err
	}
	return parseRecord(id, text)
}

func parseRecord(id snapline.SnapshotID, text []byte) (snapline.Snapshot, error) {
	var none, s snapline.Snapshot
	var version struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(text, &version); err != nil {
		return none, err
	}
	if version.Format > snapline.SnapshotFormat {
		return none, fmt.Errorf("it has format %d, this version knows %d at the most: %w", version.Format, snapline.SnapshotFormat, seal.ErrNewer)
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return none, err
	}
	if s.ID != id {
		return none, fmt.Errorf("it is the record of %q", s.ID)
	}
	return s, checkRecord(s)
}

// checkRecord reports why s cannot be a record, whatever the storage holds.
func checkRecord(s snapline.Snapshot) error {
	group, _, err := s.ID.Split()
	if err != nil {
		return err
	}
	if s.Format != snapline.SnapshotFormat {
		return fmt.Errorf("the record has format %d, not %d", s.Format, snapline.SnapshotFormat)
	}
	if s.Group.Name != group {
		return fmt.Errorf("the record is of group %q", s.Group.Name)
	}
	if len(s.Members) == 0 {
		return errors.New("the record has no members")
	}
	var seen []snapline.MemberName
	for _, m := range s.Members {
		if err := snapline.CheckName("member", string(m.Name)); err != nil {
			return err
		}
		if slices.Contains(seen, m.Name) {
			return fmt.Errorf("member %s is there twice", m.Name)
		}
		seen = append(seen, m.Name)
		if err := errors.Join(checkObject(m.Object), checkText(m.VM), checkDisks(m.Disks), checkEvidence(m.Evidence)); err != nil {
			return fmt.Errorf("member %s: %w", m.Name, err)
		}
	}
	return nil
}

// checkDisks reports what cannot be a member's disks.
func checkDisks(disks []snapline.DiskSnapshot) error {
	seen := []string{snapline.TraceName, snapline.ChannelName}
	check := func(name string, info snapline.DiskInfo, o snapline.Object) error {
		if slices.Contains(seen, name) {
			return fmt.Errorf("disk %s is there twice", name)
		}
		seen = append(seen, name)
		if !utf8.ValidString(info.Path) || !utf8.ValidString(info.ID) {
			return fmt.Errorf("disk %q at %q is not UTF-8; start the machine without it", info.ID, info.Path)
		}
		if info.Size != o.RawBytes {
			return fmt.Errorf("disk %s has %d bytes, %d are stored", name, info.Size, o.RawBytes)
		}
		return errors.Join(snapline.CheckName("disk", name), checkObject(o))
	}
	for _, d := range disks {
		if err := check(d.Name, d.DiskInfo, d.Object); err != nil {
			return err
		}
		if b := d.Backing; b != nil {
			if err := check(b.Name, b.DiskInfo, b.Object); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkEvidence(e *snapline.MemberEvidence) error {
	if e == nil {
		return nil
	}
	err := checkObject(e.Trace)
	if e.Channel != nil {
		err = errors.Join(err, checkObject(*e.Channel))
	}
	return err
}

// checkText refuses what JSON would silently replace: a machine must not be
// started with another command line than it had.
func checkText(vm snapline.VMInfo) error {
	for _, s := range slices.Concat([]string{vm.Exec, vm.Dir}, vm.Args, vm.Env) {
		if !utf8.ValidString(s) {
			return fmt.Errorf("%q is not UTF-8; start the machine without it", s)
		}
	}
	return nil
}

func checkObject(o snapline.Object) error {
	sum, err := hex.DecodeString(o.Digest)
	if err != nil || len(sum) != 32 || !bytes.Equal(hex.AppendEncode(nil, sum), []byte(o.Digest)) {
		return fmt.Errorf("%q is not a SHA-256 digest", o.Digest)
	}
	if o.RawBytes < 0 || o.StoredBytes < 0 {
		return fmt.Errorf("sizes %d and %d", o.RawBytes, o.StoredBytes)
	}
	return nil
}
