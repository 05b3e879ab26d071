package repository

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/repository/blob"
	"github.com/snapline/snapline/repository/seal"
)

// Format is the layout that this version reads and writes. Format 1 was a
// directory of whole streams.
const Format = 2

const configName = "config"

// config says what the storage holds. It is not secret.
type config struct {
	Format  int       `json:"format"`
	ID      string    `json:"id"` // 128 random bits, base32
	Created time.Time `json:"created"`
}

// envelope is the config blob, one line.
type envelope struct {
	SHA256 string          `json:"sha256"`
	Config json.RawMessage `json:"config"`
}

func encodeConfig(c config) ([]byte, error) {
	b, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	return wrapConfig(b), nil
}

func wrapConfig(b []byte) []byte {
	sum := sha256.Sum256(b)
	return fmt.Appendf(nil, "{\"sha256\":\"%s\",\"config\":%s}\n", hex.EncodeToString(sum[:]), b)
}

var idRE = regexp.MustCompile(`^[A-Z2-7]{26}$`)

func decodeConfig(b []byte) (config, error) {
	var e envelope
	var c config
	if err := json.Unmarshal(b, &e); err != nil {
		return c, fmt.Errorf("config: %w: %w", snapline.ErrDamaged, err)
	}
	if !bytes.Equal(wrapConfig(e.Config), b) {
		return c, fmt.Errorf("config: %w: its digest does not match; restore it from a copy", snapline.ErrDamaged)
	}
	if err := json.Unmarshal(e.Config, &c); err != nil {
		return c, fmt.Errorf("config: %w: %w", snapline.ErrDamaged, err)
	}
	if c.Format > Format {
		return c, fmt.Errorf("it has format %d, and this version knows %d at the most; use a newer snapline", c.Format, Format)
	}
	if c.Format != Format || !idRE.MatchString(c.ID) {
		return c, fmt.Errorf("config: %w: format %d, id %q; restore it from a copy", snapline.ErrDamaged, c.Format, c.ID)
	}
	return c, nil
}

// ErrNone says that there is no repository at a location.
var ErrNone = errors.New("there is no repository; make one with: snapline repo init")

// readConfig returns ErrNone when there is none.
func readConfig(ctx context.Context, s blob.Store) (config, error) {
	b, err := readBlob(ctx, s, configName)
	if errors.Is(err, blob.ErrNotFound) {
		if err := foreign(ctx, s); !errors.Is(err, errAppeared) {
			return config{}, err
		}
		b, err = readBlob(ctx, s, configName)
	}
	if err != nil {
		return config{}, err
	}
	return decodeConfig(b)
}

// errFound ends a listing.
var errFound = errors.New("found")

// errAppeared says that somebody else has just made the repository.
var errAppeared = errors.New("it was made meanwhile")

// foreign returns ErrNone, or that something else is there. Keys are what a
// creation that was cut off leaves.
func foreign(ctx context.Context, s blob.Store) error {
	other := ""
	err := s.List(ctx, "", func(name string, _ int64) error {
		if strings.HasPrefix(name, keyPrefix) {
			return nil
		}
		other = name
		return errFound
	})
	switch {
	case errors.Is(err, errFound) && other == configName:
		return errAppeared
	case errors.Is(err, errFound) && other == "config.json":
		return errors.New("it is a repository of format 1, which held whole streams; choose another place for the new one")
	case errors.Is(err, errFound):
		return fmt.Errorf("not a repository, and not empty (%q is there); choose another place", other)
	case err != nil:
		return err
	}
	return ErrNone
}

// Init makes a repository where nothing is yet, with one key. It fails with
// snapline.ErrExists when there is one already, also when another process was
// faster.
func Init(ctx context.Context, s blob.Store, secret Secret) error {
	if err := initialise(ctx, s, secret); err != nil {
		return fmt.Errorf("new repository in %s: %w", s, err)
	}
	return nil
}

func initialise(ctx context.Context, s blob.Store, secret Secret) error {
	switch _, err := readConfig(ctx, s); {
	case err == nil:
		return fmt.Errorf("one is there: %w", snapline.ErrExists)
	case !errors.Is(err, ErrNone):
		return err
	}
	c := config{Format: Format, ID: rand.Text(), Created: time.Now().UTC().Truncate(time.Second)}
	key, err := createKey(ctx, s, c.ID, "first key", seal.NewMaster(), secret)
	if err != nil {
		return err
	}
	b, err := encodeConfig(c)
	if err == nil {
		err = s.Create(ctx, configName, b) // from here on it exists
	}
	if err == nil {
		return nil
	}
	err = errors.Join(err, s.Delete(context.WithoutCancel(ctx), keyPrefix+key.ID))
	if errors.Is(err, blob.ErrExists) {
		return fmt.Errorf("one is there: %w", snapline.ErrExists)
	}
	return err
}

// readBlob reads a whole blob.
func readBlob(ctx context.Context, s blob.Store, name string) ([]byte, error) {
	r, err := s.Get(ctx, name, 0, -1)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return b, nil
}

// readRange reads n bytes of a blob.
func readRange(ctx context.Context, s blob.Store, name string, off, n int64) ([]byte, error) {
	b := make([]byte, n)
	return b, readFull(ctx, s, name, off, b)
}

// readFull fills b from a blob.
func readFull(ctx context.Context, s blob.Store, name string, off int64, b []byte) error {
	r, err := s.Get(ctx, name, off, int64(len(b)))
	if err != nil {
		return err
	}
	defer r.Close()
	if _, err := io.ReadFull(r, b); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}
