package repository

import (
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"

	"golang.org/x/crypto/argon2"

	"github.com/snapline/snapline/repository/seal"
)

// Secret is what opens a repository: a passphrase or a key file's content.
type Secret struct {
	kdf  string
	text []byte
}

// The ways from a secret to a key.
const (
	kdfPassphrase = "argon2id"
	kdfKeyFile    = "hkdf-sha256"
)

// minKeyFile is the shortest key file, in bytes: 256 bits, if they are random.
const minKeyFile = 32

// Passphrase is a secret that a person remembers; opening costs 64 MiB of
// memory and some 100 ms.
func Passphrase(s string) (Secret, error) {
	if s == "" {
		return Secret{}, errors.New("the passphrase is empty; choose one, or use a key file")
	}
	return Secret{kdfPassphrase, []byte(s)}, nil
}

// KeyFile is a secret that is random: at least 32 bytes, for example of
// head -c 32 /dev/urandom.
func KeyFile(content []byte) (Secret, error) {
	if len(content) < minKeyFile {
		return Secret{}, fmt.Errorf("the key file has %d bytes, it needs %d; make one with: head -c 32 /dev/urandom", len(content), minKeyFile)
	}
	return Secret{kdfKeyFile, append([]byte(nil), content...)}, nil
}

// cost is argon2id's (RFC 9106).
type cost struct {
	Time      uint32 `json:"time,omitempty"`
	MemoryKiB uint32 `json:"memory_kib,omitempty"`
	Threads   uint8  `json:"threads,omitempty"`
}

// defaultCost is the second recommendation of RFC 9106, section 4.
func defaultCost() cost { return cost{Time: 3, MemoryKiB: 64 << 10, Threads: 4} }

// valid bounds what a key that somebody else wrote makes us do.
func (c cost) valid() bool {
	return c.Time >= 1 && c.Time <= 64 && c.MemoryKiB >= 8 && c.MemoryKiB <= 2<<20 && c.Threads >= 1 && c.Threads <= 64
}

// key derives the key that wraps the master key.
func (s Secret) key(salt []byte, c cost) ([]byte, error) {
	switch s.kdf {
	case kdfPassphrase:
		return argon2.IDKey(s.text, salt, c.Time, c.MemoryKiB, c.Threads, seal.KeySize), nil
	case kdfKeyFile:
		return hkdf.Key(sha256.New, s.text, salt, "snapline key file", seal.KeySize)
	}
	return nil, errors.New("no passphrase and no key file given")
}
