package repository

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/repository/blob"
	"github.com/snapline/snapline/repository/seal"
)

const keyPrefix = "keys/"

// Key is a way into the repository, as ListKeys tells it.
type Key struct {
	ID      string    `json:"id"`
	Label   string    `json:"label"`
	Created time.Time `json:"created"`
	// KDF is "argon2id" for a passphrase, "hkdf-sha256" for a key file.
	KDF string `json:"kdf"`
	// Current marks the key that this Repository was opened with.
	Current bool `json:"current,omitempty"`
}

// keyBlob is a key as it is stored.
type keyBlob struct {
	Format     int       `json:"format"`
	ID         string    `json:"id"`
	Repository string    `json:"repository"`
	Label      string    `json:"label"`
	Created    time.Time `json:"created"`
	KDF        string    `json:"kdf"`
	Salt       []byte    `json:"salt"`
	cost
	// Wrapped is the sealed master key. All other fields are authenticated: as
	// JSON, with this one null.
	Wrapped []byte `json:"wrapped"`
}

func (k keyBlob) aad() ([]byte, error) {
	k.Wrapped = nil
	return json.Marshal(k)
}

func (k keyBlob) encode() ([]byte, error) {
	b, err := json.Marshal(k)
	return append(b, '\n'), err
}

// ErrWrongKey says that the secret opens none of the repository's keys.
var ErrWrongKey = errors.New("wrong passphrase or key file")

// createKey stores the master key under one more secret.
func createKey(ctx context.Context, s blob.Store, repository, label string, m *seal.Master, secret Secret) (keyBlob, error) {
	k := keyBlob{
		Format: 1, ID: hex.EncodeToString(random(8)), Repository: repository, Label: label,
		Created: time.Now().UTC().Truncate(time.Second), KDF: secret.kdf, Salt: random(16),
	}
	if secret.kdf == kdfPassphrase {
		k.cost = defaultCost()
	}
	key, err := secret.key(k.Salt, k.cost)
	if err != nil {
		return k, err
	}
	aad, err := k.aad()
	if err != nil {
		return k, err
	}
	k.Wrapped = m.Wrap(key, aad)
	b, err := k.encode()
	if err != nil {
		return k, err
	}
	return k, s.Create(ctx, keyPrefix+k.ID, b)
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return b
}

var keyRE = regexp.MustCompile(`^[0-9a-f]{16}$`)

func decodeKey(b []byte) (keyBlob, error) {
	var k keyBlob
	if err := json.Unmarshal(b, &k); err != nil {
		return k, fmt.Errorf("%w: %w", snapline.ErrDamaged, err)
	}
	if k.Format > 1 {
		return k, fmt.Errorf("it has format %d; use a newer snapline", k.Format)
	}
	// Every byte counts: JSON would take field names in capitals, for example.
	if again, err := k.encode(); err != nil || !bytes.Equal(again, b) {
		return k, fmt.Errorf("%w: it is not as it was written", snapline.ErrDamaged)
	}
	known := k.KDF == kdfKeyFile || k.KDF == kdfPassphrase && k.cost.valid()
	if k.Format != 1 || !known || !keyRE.MatchString(k.ID) {
		return k, fmt.Errorf("%w: it is no key", snapline.ErrDamaged)
	}
	return k, nil
}

// readKeys returns the repository's keys; those that cannot be read come in the error.
func readKeys(ctx context.Context, s blob.Store, repository string) ([]keyBlob, error) {
	var names []string
	if err := s.List(ctx, keyPrefix, func(name string, _ int64) error {
		names = append(names, name)
		return nil
	}); err != nil {
		return nil, err
	}
	var keys []keyBlob
	var errs []error
	for _, name := range names {
		b, err := readBlob(ctx, s, name)
		if errors.Is(err, blob.ErrNotFound) {
			continue // removed meanwhile
		}
		var k keyBlob
		if err == nil {
			k, err = decodeKey(b)
		}
		if err == nil && k.ID != strings.TrimPrefix(name, keyPrefix) {
			err = fmt.Errorf("%w: it is key %s", snapline.ErrDamaged, k.ID)
		}
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		case k.Repository == repository: // others are of a creation that lost
			keys = append(keys, k)
		}
	}
	return keys, errors.Join(errs...)
}

// unlock finds the master key with a secret.
func unlock(ctx context.Context, s blob.Store, repository string, secret Secret) (*seal.Master, string, error) {
	keys, unread := readKeys(ctx, s, repository)
	tried := 0
	for _, k := range keys {
		if k.KDF != secret.kdf {
			continue
		}
		tried++
		key, err := secret.key(k.Salt, k.cost)
		if err != nil {
			return nil, "", err
		}
		aad, err := k.aad()
		if err != nil {
			return nil, "", err
		}
		if m, err := seal.Unwrap(key, aad, k.Wrapped); err == nil {
			return m, k.ID, nil
		}
	}
	if unread != nil {
		return nil, "", unread
	}
	if len(keys) == 0 {
		return nil, "", fmt.Errorf("%w: no key is left; restore keys/ from a copy", snapline.ErrDamaged)
	}
	what := map[string]string{kdfPassphrase: "for a passphrase", kdfKeyFile: "for a key file"}[secret.kdf]
	return nil, "", fmt.Errorf("%w: it opens none of %d keys (%d %s)", ErrWrongKey, len(keys), tried, what)
}

// ListKeys returns the repository's keys, oldest first. Those that cannot be
// read are left out and come in the error.
func (r *Repository) ListKeys(ctx context.Context) ([]Key, error) {
	keys, err := readKeys(ctx, r.store, r.id)
	var list []Key
	for _, k := range keys {
		list = append(list, Key{ID: k.ID, Label: k.Label, Created: k.Created, KDF: k.KDF, Current: k.ID == r.key})
	}
	slices.SortFunc(list, func(a, b Key) int { return cmp.Or(a.Created.Compare(b.Created), strings.Compare(a.ID, b.ID)) })
	if err != nil {
		err = fmt.Errorf("repository %s: keys: %w", r.store, err)
	}
	return list, err
}

// AddKey makes the repository open with one more secret.
func (r *Repository) AddKey(ctx context.Context, label string, secret Secret) (Key, error) {
	k, err := createKey(ctx, r.store, r.id, label, r.master, secret)
	if err != nil {
		return Key{}, fmt.Errorf("repository %s: add key: %w", r.store, err)
	}
	return Key{ID: k.ID, Label: k.Label, Created: k.Created, KDF: k.KDF}, nil
}

// ErrLastKey refuses to make a repository unreadable.
var ErrLastKey = errors.New("it is the last key; add another one first")

// RemoveKey ends a secret's use: snapline.ErrNotFound, or ErrLastKey. Whoever had the secret and copied the storage can still read what was copied;
// and the master key stays the same.
func (r *Repository) RemoveKey(ctx context.Context, id string) error {
	keys, err := readKeys(ctx, r.store, r.id)
	at := slices.IndexFunc(keys, func(k keyBlob) bool { return k.ID == id })
	switch {
	case err != nil && at < 0:
	case at < 0:
		err = snapline.ErrNotFound
	case len(keys) == 1:
		err = ErrLastKey
	default:
		err = r.removeKey(ctx, keys[at])
	}
	if err != nil {
		return fmt.Errorf("repository %s: remove key %s: %w", r.store, id, err)
	}
	return nil
}

// removeKey deletes a key and looks whether one is left. Of several that are
// removed at the same time the last one finds none, and is written back.
func (r *Repository) removeKey(ctx context.Context, k keyBlob) error {
	b, err := k.encode()
	if err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx) // not in between
	if err := r.store.Delete(ctx, keyPrefix+k.ID); err != nil {
		return err
	}
	left, err := readKeys(ctx, r.store, r.id)
	if len(left) > 0 {
		return nil
	}
	// Also when nobody can tell: without a key all is lost.
	back := r.store.Create(ctx, keyPrefix+k.ID, b)
	if err == nil && back == nil {
		return fmt.Errorf("%w: the others were removed meanwhile", ErrLastKey)
	}
	return errors.Join(err, back)
}
