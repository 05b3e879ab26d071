package repo

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/snapline/snapline"
)

// envelope is a record file: one line.
type envelope struct {
	SHA256 string          `json:"sha256"`
	Record json.RawMessage `json:"record"`
}

// encodeRecord returns a record file's bytes.
func encodeRecord(s snapline.Snapshot) ([]byte, error) {
	record, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	return seal(record), nil
}

func seal(record []byte) []byte {
	sum := sha256.Sum256(record)
	return fmt.Appendf(nil, "{\"sha256\":\"%s\",\"record\":%s}\n", hex.EncodeToString(sum[:]), record)
}

// decodeRecord returns the record of that id, or ErrDamaged. Every byte of the
// file counts: sealing the record again must give the same file.
func decodeRecord(id snapline.SnapshotID, file []byte) (snapline.Snapshot, error) {
	var none, s snapline.Snapshot
	var e envelope
	if err := json.Unmarshal(file, &e); err != nil {
		return none, fmt.Errorf("%w: %w", snapline.ErrDamaged, err)
	}
	if !bytes.Equal(seal(e.Record), file) {
		return none, fmt.Errorf("%w: its digest does not match", snapline.ErrDamaged)
	}
	var version struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(e.Record, &version); err != nil {
		return none, fmt.Errorf("%w: %w", snapline.ErrDamaged, err)
	}
	if version.Format > snapline.SnapshotFormat {
		return none, fmt.Errorf("it has format %d, and this version knows %d at the most; use a newer snapline", version.Format, snapline.SnapshotFormat)
	}
	if err := json.Unmarshal(e.Record, &s); err != nil {
		return none, fmt.Errorf("%w: %w", snapline.ErrDamaged, err)
	}
	if s.ID != id {
		return none, fmt.Errorf("%w: it is the record of %q", snapline.ErrDamaged, s.ID)
	}
	if err := checkRecord(s); err != nil {
		return none, fmt.Errorf("%w: %w", snapline.ErrDamaged, err)
	}
	return s, nil
}

// checkRecord reports why s cannot be a record, whatever the disk holds.
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
		if err := errors.Join(checkObject(m.Object), checkText(m.VM)); err != nil {
			return fmt.Errorf("member %s: %w", m.Name, err)
		}
	}
	return nil
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
	if err != nil || len(sum) != sha256.Size {
		return fmt.Errorf("%q is not a SHA-256 digest", o.Digest)
	}
	if o.RawBytes < 0 || o.StoredBytes < 0 {
		return fmt.Errorf("sizes %d and %d", o.RawBytes, o.StoredBytes)
	}
	return nil
}
