package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

// backup is a program that stores versions of a file, each time as a process of
// its own with a repository in a folder, encrypted under a passphrase.
type backup struct {
	name  string
	init  func(ctx context.Context, folder string) *exec.Cmd
	store func(ctx context.Context, folder string, version int, file string) *exec.Cmd
}

// backups are the programs that are compared, with their defaults but for:
// restic --no-cache, which spares it copies of a repository that is local.
var backups = []backup{
	{
		name: "snapline",
		init: func(ctx context.Context, folder string) *exec.Cmd { return self(ctx, "init", folder) },
		store: func(ctx context.Context, folder string, version int, file string) *exec.Cmd {
			return self(ctx, "put", folder, fmt.Sprintf("bench-%d", version), file)
		},
	}, {
		name: "restic",
		init: func(ctx context.Context, folder string) *exec.Cmd {
			return restic(ctx, folder, "init")
		},
		store: func(ctx context.Context, folder string, _ int, file string) *exec.Cmd {
			return restic(ctx, folder, "backup", file)
		},
	}, {
		name: "borg",
		init: func(ctx context.Context, folder string) *exec.Cmd {
			return borg(ctx, folder, "init", "--encryption=repokey", folder)
		},
		store: func(ctx context.Context, folder string, version int, file string) *exec.Cmd {
			return borg(ctx, folder, "create", fmt.Sprintf("%s::%d", folder, version), file)
		},
	},
}

func restic(ctx context.Context, folder string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "restic", append([]string{"--quiet", "--no-cache", "--repo", folder}, args...)...)
	cmd.Env = append(os.Environ(), "RESTIC_PASSWORD="+passphrase)
	return cmd
}

// borg keeps all that it notes about a repository beside it.
func borg(ctx context.Context, folder string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "borg", args...)
	cmd.Env = append(os.Environ(), "BORG_PASSPHRASE="+passphrase, "BORG_BASE_DIR="+folder+".base")
	return cmd
}

// size is how many bytes the files below a folder have.
func size(folder string) (n int64, err error) {
	err = filepath.WalkDir(folder, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			n += info.Size()
		}
		return err
	})
	return n, err
}
