package repository

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/repository/blob/blobtest"
)

func passphrase(t *testing.T, s string) Secret {
	t.Helper()
	p, err := Passphrase(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestKeys(t *testing.T) {
	store := blobtest.NewMemory()
	r := create(t, store)
	stream := ram(1, 1<<20)
	stored(t, r, id, stream)
	k, err := r.AddKey(t.Context(), "night shift", passphrase(t, "correct horse"))
	if err != nil {
		t.Fatal(err)
	}
	keys, err := r.ListKeys(t.Context())
	if err != nil || len(keys) != 2 {
		t.Fatalf("keys %+v, %v", keys, err)
	}
	var first Key
	for _, key := range keys {
		if key.Current {
			first = key
		} else if key != k {
			t.Errorf("key %+v, added was %+v", key, k)
		}
	}
	second, err := Open(t.Context(), store, passphrase(t, "correct horse"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	wantStream(t, second, id, stream)
	if err := second.RemoveKey(t.Context(), first.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), store, secret(t), Options{}); !errors.Is(err, ErrWrongKey) {
		t.Errorf("open with a removed key: %v", err)
	}
	if err := second.RemoveKey(t.Context(), k.ID); !errors.Is(err, ErrLastKey) {
		t.Errorf("remove the last key: %v", err)
	}
	if err := second.RemoveKey(t.Context(), first.ID); !errors.Is(err, snapline.ErrNotFound) {
		t.Errorf("remove a key twice: %v", err)
	}
}

func TestSecrets(t *testing.T) {
	if _, err := Passphrase(""); err == nil {
		t.Error("an empty passphrase was accepted")
	}
	if _, err := KeyFile(make([]byte, 31)); err == nil || !strings.Contains(err.Error(), "head -c 32") {
		t.Errorf("a short key file: %v", err)
	}
	if err := Init(t.Context(), blobtest.NewMemory(), Secret{}); err == nil {
		t.Error("no secret at all was accepted")
	}
}

// TestOpenErrors: each says what is there and what to do.
func TestOpenErrors(t *testing.T) {
	good := blobtest.NewMemory()
	create(t, good)
	put := func(name, content string) *blobtest.Memory {
		m := good.Clone()
		if err := m.Put(t.Context(), name, int64(len(content)), strings.NewReader(content)); err != nil {
			t.Fatal(err)
		}
		return m
	}
	foreign := blobtest.NewMemory()
	if err := foreign.Create(t.Context(), "photos/cat.jpg", []byte("x")); err != nil {
		t.Fatal(err)
	}
	first := blobtest.NewMemory()
	if err := first.Create(t.Context(), "config.json", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	keyless := good.Clone()
	names, err := blobtest.Names(t.Context(), keyless, keyPrefix)
	if err != nil || len(names) != 1 {
		t.Fatalf("%q, %v", names, err)
	}
	if err := keyless.Delete(t.Context(), names[0]); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		store *blobtest.Memory
		want  string
		is    error
	}{
		"nothing there":   {blobtest.NewMemory(), "repo init", ErrNone},
		"foreign":         {foreign, "photos/cat.jpg", nil},
		"format 1":        {first, "format 1", nil},
		"newer":           {put(configName, string(wrapConfig([]byte(`{"format":3,"new":true}`)))), "newer snapline", nil},
		"no config text":  {put(configName, "{"), "config", snapline.ErrDamaged},
		"altered config":  {put(configName, `{"sha256":"00","config":{"format":2}}`), "digest", snapline.ErrDamaged},
		"no key":          {keyless, "no key is left", snapline.ErrDamaged},
		"altered key":     {put(names[0], "{}"), "keys/", snapline.ErrDamaged},
		"key of a newer":  {put(names[0], `{"format":2}`), "newer snapline", nil},
		"expensive key":   {put(names[0], `{"format":1,"kdf":"argon2id","memory_kib":4000000000,"time":9,"threads":1}`), "as it was written", snapline.ErrDamaged},
		"another's store": {another(t, good), "opens none of 1 keys", ErrWrongKey},
	} {
		_, err := Open(t.Context(), c.store, secret(t), Options{CacheDir: t.TempDir()})
		if err == nil || !strings.Contains(err.Error(), c.want) || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: %v; want %q", name, err, c.want)
		}
	}
	if err := Init(t.Context(), foreign, secret(t)); err == nil {
		t.Error("init in a foreign place")
	}
	if err := Init(t.Context(), good, secret(t)); !errors.Is(err, snapline.ErrExists) {
		t.Errorf("init twice: %v", err)
	}
}

// another is a repository that our secret does not open.
func another(t *testing.T, _ *blobtest.Memory) *blobtest.Memory {
	t.Helper()
	m := blobtest.NewMemory()
	s, err := KeyFile(bytes.Repeat([]byte("x"), 64))
	if err != nil {
		t.Fatal(err)
	}
	if err := Init(t.Context(), m, s); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestInitOnce(t *testing.T) {
	m := blobtest.NewMemory()
	const writers = 6
	results := make(chan error, writers)
	for range writers {
		go func() { results <- Init(t.Context(), m, secret(t)) }()
	}
	won := 0
	for range writers {
		switch err := <-results; {
		case err == nil:
			won++
		case !errors.Is(err, snapline.ErrExists):
			t.Error(err)
		}
	}
	r := reopen(t, m, Options{})
	keys, err := r.ListKeys(t.Context())
	if err != nil || won != 1 || len(keys) != 1 {
		t.Errorf("%d have made it, with keys %v, %v", won, keys, err)
	}
}

// TestRemoveLastKeys: however many remove however many keys at the same time,
// one stays.
func TestRemoveLastKeys(t *testing.T) {
	for range 20 {
		m := blobtest.NewMemory()
		r := create(t, m)
		const keys = 4
		for i := 1; i < keys; i++ {
			s, err := KeyFile(bytes.Repeat([]byte{byte(i)}, 32))
			if err == nil {
				_, err = r.AddKey(t.Context(), "", s)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		all, err := r.ListKeys(t.Context())
		if err != nil || len(all) != keys {
			t.Fatalf("%d keys, %v", len(all), err)
		}
		var wg sync.WaitGroup
		for _, k := range all {
			wg.Go(func() {
				if err := r.RemoveKey(t.Context(), k.ID); err != nil && !errors.Is(err, ErrLastKey) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if left, err := r.ListKeys(t.Context()); err != nil || len(left) == 0 {
			t.Fatalf("%d keys are left, %v", len(left), err)
		}
	}
}
