package seal

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
)

// HeaderSize is the length of the plain text at the start of every sealed
// blob: 8 bytes of magic, which is kind and version, 8 zero bytes, and 16
// random bytes, which are the salt of the blob's key.
const HeaderSize = 32

// Magic tells what a blob is; its last byte is the version of its layout.
type Magic [8]byte

// The kinds of blobs.
var (
	PackMagic     = Magic{'S', 'N', 'A', 'P', 'P', 'A', 'K', '1'}
	IndexMagic    = Magic{'S', 'N', 'A', 'P', 'I', 'D', 'X', '1'}
	RootMagic     = Magic{'S', 'N', 'A', 'P', 'R', 'O', 'O', '1'}
	ManifestMagic = Magic{'S', 'N', 'A', 'P', 'M', 'A', 'N', '1'}
)

// Errors of Open and ParseHeader.
var (
	// ErrAltered: the bytes are not what was sealed, or not under this name.
	ErrAltered = errors.New("it does not authenticate")
	// ErrNewer: written by a later version of the program.
	ErrNewer = errors.New("it was written by a newer snapline; use that one")
)

// Salt is a blob's random part.
type Salt [16]byte

// NewSalt returns a new one.
func NewSalt() Salt {
	var s Salt
	_, _ = rand.Read(s[:])
	return s
}

// Header returns a blob's first HeaderSize bytes.
func Header(m Magic, s Salt) []byte {
	h := make([]byte, HeaderSize)
	copy(h, m[:])
	copy(h[16:], s[:])
	return h
}

// ParseHeader checks a header and returns its salt.
func ParseHeader(b []byte, m Magic) (Salt, error) {
	var s Salt
	if len(b) < HeaderSize {
		return s, fmt.Errorf("%w: %d bytes are too few", ErrAltered, len(b))
	}
	if bytes.Equal(b[:7], m[:7]) && b[7] > m[7] && b[7] <= '9' {
		return s, ErrNewer
	}
	copy(s[:], b[16:])
	if !bytes.Equal(b[:HeaderSize], Header(m, s)) {
		return s, fmt.Errorf("%w: it begins with %q", ErrAltered, b[:8])
	}
	return s, nil
}

// Nonce is the one for the text that begins at that offset of its blob: 4 zero
// bytes and the offset, big-endian.
func Nonce(offset int64) []byte {
	n := make([]byte, 12)
	for i := range 8 {
		n[11-i] = byte(offset >> (8 * i))
	}
	return n
}

// Seal returns a small blob: header, ciphertext, tag. The name is
// authenticated, so that a blob cannot take another's place.
func (m *Master) Seal(kind Magic, name string, text []byte) []byte {
	salt := NewSalt()
	b := Header(kind, salt)
	return m.AEAD(salt[:]).Seal(b, Nonce(HeaderSize), text, []byte(name))
}

// Open returns the text of a small blob.
func (m *Master) Open(kind Magic, name string, blob []byte) ([]byte, error) {
	salt, err := ParseHeader(blob, kind)
	if err != nil {
		return nil, err
	}
	text, err := m.AEAD(salt[:]).Open(nil, Nonce(HeaderSize), blob[HeaderSize:], []byte(name))
	if err != nil {
		return nil, ErrAltered
	}
	return text, nil
}
