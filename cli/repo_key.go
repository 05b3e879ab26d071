package cli

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/repository"
)

func repoKeyCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "key",
		Short: "List, add and remove the keys that open the repository",
		Long: `List, add and remove the keys that open the repository. Each key is a
passphrase or a key file; all open the same. Whoever had a key and a copy of the
repository can still read that copy when the key has been removed.`,
		Example: `  snapline repo key list
  snapline repo key add --key-file /etc/snapline/key --label "the safe"
  snapline repo key remove 1f2e3d4c5b6a7988`,
		Args: knownSubcommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(keyListCommand(e), keyAddCommand(e), keyRemoveCommand(e))
	return cmd
}

func keyListCommand(e *env) *cobra.Command {
	var f directFlags
	cmd := &cobra.Command{
		Use: "list", Short: "List the keys", Aliases: []string{"ls"},
		Example:           "  snapline repo key list --repo /srv/snapline --key-file /etc/snapline/key",
		Args:              exactly(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return e.withRepository(cmd.Context(), &f, func(r *openedRepository, p printer) error { return runKeyList(cmd.Context(), r, p) })
		},
	}
	f.register(cmd.Flags())
	return cmd
}

func runKeyList(ctx context.Context, r *openedRepository, p printer) error {
	keys, err := r.ListKeys(ctx)
	if err != nil && len(keys) == 0 {
		return err
	}
	if err != nil {
		p.note("%v", err)
	}
	return p.result(keys, func() error {
		var rows [][]any
		for _, k := range keys {
			current := ""
			if k.Current {
				current = "used now"
			}
			rows = append(rows, []any{k.ID, kinds[k.KDF], when(k.Created), k.Label, current})
		}
		return p.table([]column{left("KEY"), left("KIND"), left("MADE"), left("LABEL"), left("")}, rows)
	})
}

// kinds says for people what a key is derived from.
var kinds = map[string]string{"argon2id": "passphrase", "hkdf-sha256": "key file"}

type keyAddOptions struct {
	label             string
	newKeyFile        string
	newPassphraseFile string
}

func keyAddCommand(e *env) *cobra.Command {
	var f directFlags
	var o keyAddOptions
	cmd := &cobra.Command{
		Use:   "add",
		Short: "Make one more passphrase or key file open the repository",
		Long: `Make one more passphrase or key file open the repository. --key-file,
--passphrase-file or the environment name a key that opens it now; the new one is
the file that --new-key-file names (made of random bytes when it is missing), or
a passphrase that is asked for twice.`,
		Example: `  snapline repo key add --key-file /etc/snapline/key --label "the safe"
  snapline repo key add --key-file /etc/snapline/key --new-key-file /media/usb/key`,
		Args:              exactly(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return e.withRepository(cmd.Context(), &f, func(r *openedRepository, p printer) error { return runKeyAdd(cmd.Context(), e, r, p, o) })
		},
	}
	f.register(cmd.Flags())
	cmd.Flags().StringVar(&o.label, "label", "", "`TEXT` to know the key by")
	cmd.Flags().StringVar(&o.newKeyFile, "new-key-file", "", "`FILE` that is to open it too; made when missing")
	cmd.Flags().StringVar(&o.newPassphraseFile, "new-passphrase-file", "", "`FILE` whose first line is the new passphrase")
	return cmd
}

func runKeyAdd(ctx context.Context, e *env, r *openedRepository, p printer, o keyAddOptions) error {
	if o.newKeyFile != "" && o.newPassphraseFile != "" {
		return invalid("give one of them", "both --new-key-file and --new-passphrase-file are given")
	}
	// The environment speaks of the key that opens it now.
	d := e.deps
	d.Env = func(string) (string, bool) { return "", false }
	f := secretFlags{keyFile: o.newKeyFile, passphraseFile: o.newPassphraseFile}
	secret, made, err := f.newSecret(ctx, d)
	if err != nil {
		return err
	}
	k, err := r.AddKey(ctx, o.label, secret)
	if err != nil {
		if made != "" {
			err = errors.Join(err, os.Remove(made))
		}
		return err
	}
	return p.result(k, func() error {
		if made != "" {
			p.note("made key file %s", made)
		}
		return p.line("added key %s (%s)", k.ID, kinds[k.KDF])
	})
}

func keyRemoveCommand(e *env) *cobra.Command {
	var f directFlags
	cmd := &cobra.Command{
		Use:               "remove KEY",
		Short:             "End a key's use",
		Aliases:           []string{"rm"},
		Example:           "  snapline repo key remove 1f2e3d4c5b6a7988",
		Args:              exactly("KEY"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			return e.withRepository(cmd.Context(), &f, func(r *openedRepository, p printer) error { return runKeyRemove(cmd.Context(), r, p, args[0]) })
		},
	}
	f.register(cmd.Flags())
	return cmd
}

func runKeyRemove(ctx context.Context, r *openedRepository, p printer, id string) error {
	switch err := r.RemoveKey(ctx, id); {
	case errors.Is(err, repository.ErrLastKey):
		return &snapline.Error{Code: snapline.CodeRefused, Message: err.Error(), Hint: "add another with: snapline repo key add", Err: err}
	case errors.Is(err, snapline.ErrNotFound):
		return &snapline.Error{Code: snapline.CodeNotFound, Message: "there is no key " + id, Hint: "see: snapline repo key list", Err: err}
	case err != nil:
		return err
	}
	done := struct {
		ID    string    `json:"id"`
		State string    `json:"state"`
		At    time.Time `json:"at"`
	}{id, "removed", time.Now().UTC().Truncate(time.Second)}
	return p.result(done, func() error { return p.line("removed key %s", id) })
}
