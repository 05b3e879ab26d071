package seal

import (
	"bytes"
	"errors"
	"testing"
)

func TestSeal(t *testing.T) {
	m := NewMaster()
	text := []byte("text")
	b := m.Seal(RootMagic, "roots/a-1/n1", text)
	if len(b) != HeaderSize+len(text)+Overhead {
		t.Errorf("%d bytes", len(b))
	}
	if got, err := m.Open(RootMagic, "roots/a-1/n1", b); err != nil || !bytes.Equal(got, text) {
		t.Errorf("%q, %v", got, err)
	}
	for i := range b {
		bad := bytes.Clone(b)
		bad[i] ^= 1
		if _, err := m.Open(RootMagic, "roots/a-1/n1", bad); err == nil {
			t.Errorf("byte %d is altered, nobody notices", i)
		}
	}
	for n := range b {
		if _, err := m.Open(RootMagic, "roots/a-1/n1", b[:n]); !errors.Is(err, ErrAltered) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
	for name, open := range map[string]func() ([]byte, error){
		"another name":   func() ([]byte, error) { return m.Open(RootMagic, "roots/a-2/n1", b) },
		"another kind":   func() ([]byte, error) { return m.Open(ManifestMagic, "roots/a-1/n1", b) },
		"another master": func() ([]byte, error) { return NewMaster().Open(RootMagic, "roots/a-1/n1", b) },
	} {
		if _, err := open(); !errors.Is(err, ErrAltered) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if bytes.Equal(b, m.Seal(RootMagic, "roots/a-1/n1", text)) {
		t.Error("the same text is sealed twice alike")
	}
}

func TestWrap(t *testing.T) {
	m, key := NewMaster(), bytes.Repeat([]byte{1}, KeySize)
	b := m.Wrap(key, []byte("aad"))
	got, err := Unwrap(key, []byte("aad"), b)
	if err != nil || *got != *m {
		t.Errorf("unwrapped another key: %v", err)
	}
	for name, unwrap := range map[string]func() (*Master, error){
		"another key": func() (*Master, error) { return Unwrap(bytes.Repeat([]byte{2}, KeySize), []byte("aad"), b) },
		"another aad": func() (*Master, error) { return Unwrap(key, nil, b) },
		"nothing":     func() (*Master, error) { return Unwrap(key, []byte("aad"), nil) },
	} {
		if _, err := unwrap(); !errors.Is(err, ErrAltered) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestKeysDiffer(t *testing.T) {
	m := NewMaster()
	seen := map[string]bool{}
	for _, p := range []Purpose{PageIDs, NodeIDs, Cache, Blob} {
		for _, salt := range [][]byte{nil, {1}, {2}} {
			seen[string(m.Key(p, salt))] = true
		}
	}
	if len(seen) != 12 {
		t.Errorf("%d different keys of 12", len(seen))
	}
	if got := Nonce(0x0102030405060708); !bytes.Equal(got, []byte{0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8}) {
		t.Errorf("nonce %x", got)
	}
}
