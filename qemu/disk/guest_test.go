package disk_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"strconv"
	"strings"
	"testing"

	_ "embed"
)

// guestBoot is a boot sector, assembled from testdata/guest.s:
//
//	as --32 guest.s -o guest.o
//	ld -m elf_i386 -Ttext 0x7c00 --oformat binary guest.o -o guest.bin
//
// For ever it writes a record with the next number, in each of its 1,024 words,
// to every disk by the BIOS (int 13h, function 43h), and only then prints the
// number to port 0xe9: what is printed is acknowledged. Record n goes to slot
// n modulo the number of slots. Between records it may dirty some memory.
// "X" means that a disk has refused.
//
//go:embed testdata/guest.bin
var guestBoot []byte

// Offsets of the guest's parameters.
const (
	guestSlotMask  = 0x1a4
	guestPages     = 0x1a8
	guestLimit     = 0x1ac
	guestLastDrive = 0x1b0
)

const (
	recordSize  = 4096
	recordsFrom = 1 << 20 // byte of the disk
	slots       = 4096
	diskSize    = 64 << 20
)

// bootSector is the guest for so many disks; memory in MiB of which it writes
// 512 pages between two records, or 0.
func bootSector(disks, memory int) []byte {
	b := bytes.Clone(guestBoot)
	binary.LittleEndian.PutUint32(b[guestSlotMask:], slots-1)
	b[guestLastDrive] = 0x80 + byte(disks)
	if memory > 0 {
		binary.LittleEndian.PutUint32(b[guestPages:], 512)
		binary.LittleEndian.PutUint32(b[guestLimit:], uint32(memory-4)<<20)
	}
	return b
}

// acknowledged is the last number that the guest has printed.
func acknowledged(t testing.TB, path string) uint32 {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	if i := bytes.IndexByte(b, 'X'); i >= 0 {
		t.Fatal("a disk has refused the guest's write")
	}
	b = b[:bytes.LastIndexByte(b, '\n')+1]
	words := strings.Fields(string(b))
	if len(words) == 0 {
		return 0
	}
	n, err := strconv.ParseUint(words[len(words)-1], 16, 32)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(n)
}

// checkRecords wants every acknowledged record that was not overwritten by a
// later one, in a raw image. It returns the newest record.
func checkRecords(t testing.TB, what string, image []byte, last uint32) uint32 {
	t.Helper()
	newest := uint32(0)
	for slot := range uint32(slots) {
		at := recordsFrom + int(slot)*recordSize
		got := binary.LittleEndian.Uint32(image[at:])
		newest = max(newest, got)
		if got != 0 && got%slots != slot {
			t.Fatalf("%s: slot %d holds record %d", what, slot, got)
		}
		// The newest that belongs here and is acknowledged.
		want := last - (last-slot)%slots
		if last < slot || want == 0 {
			continue
		}
		if got < want {
			t.Errorf("%s: slot %d holds record %d, record %d was acknowledged (last is %d)", what, slot, got, want, last)
			return newest
		}
		if got > want && got != want+slots {
			t.Errorf("%s: slot %d holds record %d, want %d", what, slot, got, want)
		}
		if got == want && !bytes.Equal(image[at:at+4], image[at+recordSize-4:at+recordSize]) {
			t.Errorf("%s: record %d is torn", what, got)
		}
	}
	return newest
}
