package cli

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/snapline/snapline/repository"
	"github.com/snapline/snapline/repository/blob"
	"github.com/snapline/snapline/repository/location"
)

func repoInitCommand(e *env) *cobra.Command {
	var f repositoryFlags
	cmd := &cobra.Command{
		Use:   "init --repo LOCATION",
		Short: "Make a repository",
		Long: `Make a repository. A directory is made when it is missing; a bucket must exist.

All that is in it is encrypted. --key-file names the file that opens it, and is
made of random bytes when it is missing; otherwise a new passphrase is asked for,
twice. WHOEVER LOSES ALL KEYS LOSES ALL SNAPSHOTS: keep a copy of the key file
elsewhere, or add a passphrase with "snapline repo key add".`,
		Example: `  snapline repo init --repo /srv/snapline --key-file /etc/snapline/key
  snapline repo init --repo 's3://backups/snapline?endpoint=https://minio:9000'`,
		Args:              exactly(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return runRepoInit(cmd.Context(), e, f) },
	}
	f.register(cmd.Flags())
	return cmd
}

// initResult is the JSON of "repo init".
type initResult struct {
	ID       string `json:"id"`
	Location string `json:"location"`
	// KeyFile is the file that was made, if one was.
	KeyFile string `json:"key_file,omitempty"`
}

func runRepoInit(ctx context.Context, e *env, f repositoryFlags) (err error) {
	at := f.where(e.deps)
	// The location first: nobody should think of a passphrase in vain.
	store, err := openStore(ctx, at, location.Create)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, blob.Close(store)) }()
	secret, made, err := f.newSecret(ctx, e.deps)
	if err != nil {
		return err
	}
	if err := repository.Init(ctx, store, secret); err != nil {
		if made != "" {
			err = errors.Join(err, os.Remove(made)) // it opens nothing
		}
		return repositoryError(at, err)
	}
	r, err := repository.Open(ctx, store, secret, repository.Options{})
	if err != nil {
		return repositoryError(at, err)
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if made != "" {
		if made, err = filepath.Abs(made); err != nil {
			return err
		}
	}
	p := e.printer()
	return p.result(initResult{ID: r.ID(), Location: r.Location(), KeyFile: made}, func() error {
		if made != "" {
			p.note("made key file %s: keep a copy of it elsewhere; without a key nobody can read the snapshots", made)
		}
		return p.line("made repository %s at %s", r.ID(), r.Location())
	})
}
