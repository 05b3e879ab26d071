// Package seal keeps what is stored from being read or altered by whoever
// stores it. Every blob has a key of its own, so that no nonce is ever used
// twice with one key.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
)

// KeySize is the length of every key, in bytes.
const KeySize = 32

// Overhead is how much longer sealed text is, in bytes.
const Overhead = 16

// Master is a repository's one secret; every other key comes from it.
type Master struct{ key [KeySize]byte }

// NewMaster returns a new random one.
func NewMaster() *Master {
	var m Master
	_, _ = rand.Read(m.key[:]) // never fails (crypto/rand)
	return &m
}

// Purpose says what a key is for. It is the info of HKDF (RFC 5869).
type Purpose string

// The purposes.
const (
	PageIDs Purpose = "snapline page ids"
	NodeIDs Purpose = "snapline node ids"
	Cache   Purpose = "snapline local index"
	Blob    Purpose = "snapline blob"
)

// Key derives a key: HKDF with SHA-256, salt as given.
func (m *Master) Key(p Purpose, salt []byte) []byte {
	k, err := hkdf.Key(sha256.New, m.key[:], salt, string(p), KeySize)
	if err != nil {
		panic("hkdf: " + err.Error()) // only for lengths out of range
	}
	return k
}

// AEAD returns AES-256-GCM with the key of the blob of that salt. Under one
// salt a nonce must not be used for two texts.
func (m *Master) AEAD(salt []byte) cipher.AEAD { return gcm(m.Key(Blob, salt)) }

func gcm(key []byte) cipher.AEAD {
	c, err := aes.NewCipher(key)
	if err != nil {
		panic("aes: " + err.Error()) // only for keys of another length
	}
	g, err := cipher.NewGCM(c)
	if err != nil {
		panic("gcm: " + err.Error())
	}
	return g
}
