package qemu_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// writerGuest is a multiboot kernel of a hundred bytes (Multiboot
// specification 0.6.96, address fields instead of an ELF header). It sweeps
// over its memory for ever: each word, one to a page, must hold the number of
// the last sweep and gets the number of this one. So any snapshot that mixes
// two instants shows as a word of the wrong number. Every so many sweeps it
// prints the number to port 0xe9, and "X" when a word was wrong.
//
//	       cli; cld; xor ebx, ebx
//	       … zero the words …
//	sweep: mov edi, 0x200000; lea edx, [ebx+1]
//	word:  cmp [edi], ebx; jne bad
//	       mov [edi], edx; add edi, 4096; cmp edi, [limit]; jb word
//	       mov ebx, edx; test [mask], ebx; jnz sweep
//	       … eight hexadecimal digits and a newline to port 0xe9 …
//	       jmp sweep
//	bad:   'X' and a newline to port 0xe9; hlt; jmp bad
const writerGuest = "02b0ad1b00000100fe4f51e40000100000001000000000000000000028001000000000043f000000fafc31db" +
	"bf00002000891f81c7001000003b3d2000100072f0bf000020008d5301391f753d891781c7001000003b3d20" +
	"00100072ec89d3851d2400100075dab00a89deb908000000c1c60489f083e00f04303c3976020427e6e9e2ec" +
	"b00ae6e9ebb7b058e6e9b00ae6e9f4ebf5"

const guestLimit, guestMask = 0x20, 0x24 // offsets of its two parameters

// buildGuest writes the kernel for a machine that lets it write up to limit
// (bytes from address zero, above 2 MiB) and prints every printEvery sweeps (a
// power of two).
func buildGuest(t testing.TB, dir string, limit, printEvery uint32) string {
	t.Helper()
	image, err := hex.DecodeString(writerGuest)
	if err != nil {
		t.Fatal(err)
	}
	binary.LittleEndian.PutUint32(image[guestLimit:], limit)
	binary.LittleEndian.PutUint32(image[guestMask:], printEvery-1)
	path := filepath.Join(dir, "guest.bin")
	if err := os.WriteFile(path, image, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// guestOutput is what a guest has printed.
type guestOutput struct{ sweeps []uint64 }

func readGuest(t testing.TB, path string) guestOutput {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	if i := bytes.IndexByte(b, 'X'); i >= 0 {
		t.Fatalf("guest found its memory mixed from two instants: %q", b[max(0, i-40):i+1])
	}
	var out guestOutput
	end := bytes.LastIndexByte(b, '\n') + 1 // a line may be half printed
	for _, line := range strings.Fields(string(b[:end])) {
		if n, err := strconv.ParseUint(line, 16, 64); err == nil && len(line) == 8 {
			out.sweeps = append(out.sweeps, n)
		}
	}
	return out
}

func (o guestOutput) last() uint64 {
	if len(o.sweeps) == 0 {
		return 0
	}
	return o.sweeps[len(o.sweeps)-1]
}
