package cli

import (
	"github.com/spf13/cobra"

	"github.com/snapline/snapline/qemu"
)

// NewGuardCommand returns the hidden "snapline guard": the process that lets a
// paused VM run again when the agent that paused it has died or hangs.
func NewGuardCommand() *cobra.Command {
	return &cobra.Command{
		Use: "guard", Hidden: true, Args: cobra.ArbitraryArgs,
		RunE: func(*cobra.Command, []string) error { return qemu.Guard() },
	}
}
