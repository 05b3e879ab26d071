package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/repository"
	"github.com/snapline/snapline/repository/blob"
	"github.com/snapline/snapline/repository/location"
)

// repositoryFlags name a repository and what opens it.
type repositoryFlags struct {
	location string
	secretFlags
}

func (f *repositoryFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.location, "repo", "", "repository: a `LOCATION` like /srv/snapline or s3://BUCKET/PREFIX (env SNAPLINE_REPO)")
	f.secretFlags.register(fs)
}

// where returns the location that the flag names, or the environment; "" when
// neither does.
func (f *repositoryFlags) where(d Deps) string { return flagOrEnv(d, f.location, "SNAPLINE_REPO") }

// openedRepository is a repository and its store; Close closes both.
type openedRepository struct {
	*repository.Repository
	store blob.Store
}

func (r *openedRepository) Close() error {
	return errors.Join(r.Repository.Close(), blob.Close(r.store))
}

// openRepository opens the repository at a location. Its errors say what to do.
func openRepository(ctx context.Context, at string, secret repository.Secret, o repository.Options) (*openedRepository, error) {
	store, err := openStore(ctx, at, location.Open)
	if err != nil {
		return nil, err
	}
	r, err := repository.Open(ctx, store, secret, o)
	if err != nil {
		return nil, errors.Join(repositoryError(at, err), blob.Close(store))
	}
	return &openedRepository{r, store}, nil
}

func openStore(ctx context.Context, at string, open func(context.Context, string) (blob.Store, error)) (blob.Store, error) {
	if at == "" {
		return nil, invalid("name it with --repo LOCATION or SNAPLINE_REPO", "which repository?")
	}
	if err := location.Check(at); err != nil {
		return nil, invalid("", "%v", err)
	}
	store, err := open(ctx, at)
	if err != nil {
		return nil, repositoryError(at, fmt.Errorf("repository %s: %w", location.Redact(at), err))
	}
	return store, nil
}

// repositoryError gives what a repository says a code and the next step.
func repositoryError(at string, err error) error {
	if errors.As(err, new(*snapline.Error)) {
		return err // it says all that already
	}
	e := &snapline.Error{Code: snapline.CodeFailed, Message: err.Error(), Err: err}
	switch {
	case errors.Is(err, context.Canceled):
		e.Code = snapline.CodeCancelled
	case errors.Is(err, repository.ErrNone):
		e.Code = snapline.CodeNotFound
		e.Hint = "make one with: snapline repo init --repo " + location.Redact(at)
	case errors.Is(err, os.ErrNotExist):
		e.Code = snapline.CodeNotFound
		e.Hint = "is it mounted? To make a new repository: snapline repo init --repo " + location.Redact(at)
	case errors.Is(err, repository.ErrWrongKey):
		e.Code = snapline.CodeRefused
		e.Hint = "name another with --key-file or --passphrase-file"
	case errors.Is(err, snapline.ErrDamaged):
		e.Code = snapline.CodeDamaged
	case errors.Is(err, snapline.ErrNotFound):
		e.Code = snapline.CodeNotFound
	case errors.Is(err, os.ErrPermission):
		e.Hint = "run it as a user who may, or give this one the right"
	}
	return e
}

// storageFlags are for the programs that use a repository for a long time.
type storageFlags struct {
	cache      string
	cacheSize  string
	uploadRate string
}

// nearBytes is how much of a repository on other machines an agent keeps, unless
// it is told: the packs of its latest snapshots, so that a restore need not fetch
// them twice, to check them and to use them.
const nearBytes = 2 << 30

func (f *storageFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.cache, "cache", "", "`DIR` of this machine for the repository's index, 8 MiB for each GiB of different pages, and for packs; it can be lost (default: cache in --data)")
	fs.StringVar(&f.cacheSize, "cache-size", "", "`SIZE` up to which packs are kept in --cache, like 20GiB; 0: only the index is (default: 2GiB on an agent, if the repository is not a directory)")
	fs.StringVar(&f.uploadRate, "upload-rate", "", "`RATE` at which the repository is written at the most, like 20MiB/s or 200Mbit/s (default: no limit)")
}

// options are those of a program that has a directory of its own.
func (f *storageFlags) options(data string) (repository.Options, error) {
	o := repository.Options{CacheDir: f.cache}
	if o.CacheDir == "" && data != "" {
		o.CacheDir = filepath.Join(data, "cache")
	}
	var err error
	if o.UploadRate, err = blob.ParseRate(f.uploadRate); err != nil {
		return o, invalid("", "--upload-rate: %v", err)
	}
	if o.CacheBytes, err = parseSize(f.cacheSize); err != nil {
		return o, invalid("", "--cache-size: %v", err)
	}
	return o, nil
}

// near are an agent's options for the repository at a location.
func (f *storageFlags) near(at string, o repository.Options) repository.Options {
	if f.cacheSize == "" && location.Remote(at) {
		o.CacheBytes = nearBytes
	}
	return o
}

// cacheFlag is where a command keeps the index while it runs, and longer if it is told.
type cacheFlag struct{ cache string }

func (f *cacheFlag) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.cache, "cache", "", "`DIR` of this machine for the repository's index: 8 MiB for each GiB of different pages; it can be lost (default: a temporary one)")
}
