package qemu

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/snapline/snapline/qemu/qmp"
)

// A migration stream begins with the magic number "QEVM" and the version of
// its form, both big-endian (QEMU's docs/devel/migration, "savevm").
const (
	streamMagic   = 0x5145564d
	streamVersion = 3
)

// streamHeader is the length of both.
const streamHeader = 8

// checkStream reads the header of a captured stream.
func checkStream(r io.Reader) ([]byte, error) {
	head := make([]byte, streamHeader)
	if _, err := io.ReadFull(r, head); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = errors.New("shorter than its header")
		}
		return nil, fmt.Errorf("captured stream: %w", err)
	}
	magic, version := binary.BigEndian.Uint32(head[:4]), binary.BigEndian.Uint32(head[4:])
	if magic != streamMagic || version != streamVersion {
		return nil, fmt.Errorf("captured stream: begins with %#x version %d, not with %#x version %d", magic, version, streamMagic, streamVersion)
	}
	return head, nil
}

// migrationEnded is the error of an event that says that a migration has
// failed or was cancelled; nil for any other.
func migrationEnded(ev qmp.Event) error {
	if ev.Name != "MIGRATION" {
		return nil
	}
	var s qmp.MigrationStatus
	if err := json.Unmarshal(ev.Data, &s); err != nil {
		return fmt.Errorf("MIGRATION event: %w", err)
	}
	if s.Status == "failed" || s.Status == "cancelled" {
		return fmt.Errorf("QEMU's migration %s (see what it printed)", s.Status)
	}
	return nil
}
