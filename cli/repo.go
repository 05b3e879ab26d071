package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/repository"
	"github.com/snapline/snapline/repository/location"
)

// groupRepository is the group of commands about the repository in the help text.
const groupRepository = "repository"

func repoCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "repo",
		Short: "Make, check and look after the repository of snapshots",
		Long: `Make, check and look after the repository of snapshots.

init, stats, check and key open it themselves: they need --repo LOCATION and
--key-file FILE or a passphrase, and no coordinator. prune and repair must have
it for themselves, and so ask the coordinator to do it.`,
		Example: `  snapline repo init --repo /srv/snapline --key-file /etc/snapline/key
  snapline repo stats --repo /srv/snapline --key-file /etc/snapline/key
  snapline repo check --deep`,
		Args: knownSubcommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(repoInitCommand(e), repoStatsCommand(e), repoCheckCommand(e), repoPruneCommand(e), repoRepairCommand(e), repoKeyCommand(e))
	return cmd
}

// knownSubcommand refuses what is no subcommand.
func knownSubcommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return invalid(fmt.Sprintf("see `%s --help`", cmd.CommandPath()), "%s has no command %q", cmd.CommandPath(), args[0])
}

// directFlags are those of commands that open a repository themselves.
type directFlags struct {
	repositoryFlags
	cacheFlag
}

func (f *directFlags) register(fs *pflag.FlagSet) {
	f.repositoryFlags.register(fs)
	f.cacheFlag.register(fs)
}

// withRepository opens the repository that the flags name and calls run.
func (e *env) withRepository(ctx context.Context, f *directFlags, run func(*openedRepository, printer) error) (err error) {
	r, err := f.open(ctx, e.deps, f.where(e.deps))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if err := run(r, e.printer()); err != nil {
		return repositoryError(r.Location(), err)
	}
	return nil
}

func (f *directFlags) open(ctx context.Context, d Deps, at string) (*openedRepository, error) {
	if at == "" {
		return openRepository(ctx, "", repository.Secret{}, repository.Options{})
	}
	secret, err := f.secret(ctx, d)
	if err != nil {
		return nil, err
	}
	return openRepository(ctx, at, secret, repository.Options{CacheDir: f.cache})
}

// withSnapshots is withRepository that asks the coordinator where the
// repository is when nobody says.
func (e *env) withSnapshots(ctx context.Context, f *directFlags, run func(*openedRepository, printer) error) error {
	if f.where(e.deps) != "" {
		return e.withRepository(ctx, f, run)
	}
	c, err := e.client()
	if err != nil {
		return err
	}
	defer c.Close()
	info, err := c.RepositoryInfo(ctx)
	if err != nil {
		var problem *snapline.Error
		if errors.As(err, &problem) && problem.Code == snapline.CodeUnavailable {
			problem.Hint = "name the repository with --repo LOCATION, then no coordinator is needed"
		}
		return err
	}
	named := *f
	named.location = info.Location
	return e.withRepository(ctx, &named, func(r *openedRepository, p printer) error {
		if r.ID() != info.ID {
			return &snapline.Error{Code: snapline.CodeRefused,
				Message: fmt.Sprintf("the repository at %s here is not the coordinator's: its id is %s, not %s", location.Redact(info.Location), r.ID(), info.ID),
				Hint:    "run this where the coordinator's repository can be reached, or name it with --repo"}
		}
		return run(r, p)
	})
}
