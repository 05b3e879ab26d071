package cli

import (
	"context"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/gentle"
)

// gentleFlags say how captures are stored on a host that has an owner.
type gentleFlags struct {
	on      bool
	maxCPU  string
	giveWay time.Duration
}

func (f *gentleFlags) register(fs *pflag.FlagSet) {
	fs.BoolVar(&f.on, "gentle", false, "store captures at idle priority, and rest while others are busy")
	fs.StringVar(&f.maxCPU, "max-cpu", "50%", "with --gentle: `SHARE` of this host's processors together that storing may use, on average")
	fs.DurationVar(&f.giveWay, "give-way", gentle.DefaultPatience, "with --gentle: how long storing one stream or disk gives way to others, so that it ends on a host that is always busy")
}

// processors is the share as a number of processors, of which the host has so
// many.
func (f *gentleFlags) processors(all int) (float64, error) {
	n, ok := strings.CutSuffix(f.maxCPU, "%")
	share, err := strconv.ParseFloat(n, 64)
	if !ok || err != nil || !(share >= 1 && share <= 100) {
		return 0, invalid("", "--max-cpu %s: write 1%% to 100%%", f.maxCPU)
	}
	return share / 100 * float64(all), nil
}

// NewStoreCommand returns the hidden "snapline store": the worker that an agent
// with --gentle starts.
func NewStoreCommand() *cobra.Command {
	var repo repositoryFlags
	var storage storageFlags
	cmd := &cobra.Command{
		Use: "store", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_ = gentle.Lower() // where it is not permitted, the agent's governor still does its part
			options, err := storage.options("")
			if err != nil {
				return err
			}
			return gentle.Work(cmd.Context(), os.Stdin, os.Stdout, func(ctx context.Context) (snapline.Repository, error) {
				// Standard input is what is to be stored: nobody can be asked for a passphrase.
				secret, err := repo.secret(ctx, processDeps())
				if err != nil {
					return nil, err
				}
				at := repo.where(processDeps())
				r, err := openRepository(ctx, at, secret, storage.near(at, options))
				if err != nil {
					return nil, err
				}
				return r, nil
			})
		},
	}
	repo.register(cmd.Flags())
	storage.register(cmd.Flags())
	return cmd
}

// storeCommand is a worker's command line; what is a secret comes to it as it
// came to us.
func storeCommand(at string, secret secretFlags, storage storageFlags, cache string) []string {
	args := []string{"/proc/self/exe", "store", "--repo", at, "--cache", cache}
	for flag, value := range map[string]string{"--key-file": secret.keyFile, "--passphrase-file": secret.passphraseFile,
		"--cache-size": storage.cacheSize, "--upload-rate": storage.uploadRate} {
		if value != "" {
			args = append(args, flag, value)
		}
	}
	return args
}
