// Command snapline exists so that all of Snapline is one file to copy: the
// coordinator, the agents and the operator's commands.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/snapline/snapline/cli"
)

func main() {
	// The first signal ends ctx, and the command ends in good order; the second
	// one kills.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(cli.Run(ctx, cli.Deps{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Env: os.LookupEnv,
		Extra: []*cobra.Command{cli.NewCoordinatorCommand(), cli.NewAgentCommand(), cli.NewGuardCommand(), cli.NewStoreCommand(), cli.NewLabCommand()},
	}, os.Args[1:]))
}
