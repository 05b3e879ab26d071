package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/api"
)

func tokenCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Let hosts join",
		Long: `Let hosts join. A token is for one host and can be used once, for a limited time.
It carries the fingerprint of the cluster's authority, so that the host knows the
coordinator before it says anything.`,
		Example: `  snapline token create --host h4
  snapline token list`,
		Args: knownSubcommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(tokenCreateCommand(e), tokenListCommand(e), tokenRevokeCommand(e))
	return cmd
}

func tokenCreateCommand(e *env) *cobra.Command {
	host, ttl := "", time.Hour
	cmd := &cobra.Command{
		Use:   "create --host NAME",
		Short: "Make a token that one host can join with, once",
		Long: `Make a token that one host can join with, once. It is printed on stdout, and
nowhere else: whoever has it can join as that host. Should a host of the name be
there already, the new one takes its place.`,
		Example: `  snapline token create --host h4
  snapline token create --host h4 --ttl 15m --json
  ssh root@h4 'umask 077; cat >/etc/snapline/token' < <(snapline token create --host h4)`,
		Args:              exactly(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := snapline.CheckName("host", host); err != nil {
				return invalid("", "--host: %v", err)
			}
			if ttl < time.Second {
				return invalid("write it as 15m or 24h", "--ttl %v is too short", ttl)
			}
			return e.withTrust(func(svc api.Trust, p printer) error {
				return runTokenCreate(cmd.Context(), svc, p, snapline.TokenRequest{Host: snapline.HostName(host), TTLSeconds: int64(ttl / time.Second)})
			})
		},
	}
	cmd.Flags().StringVar(&host, "host", "", "`NAME` of the host that is to join")
	cmd.Flags().DurationVar(&ttl, "ttl", ttl, "how long it can be used, up to 720h")
	if err := cmd.MarkFlagRequired("host"); err != nil {
		panic(err)
	}
	return cmd
}

func runTokenCreate(ctx context.Context, svc api.Trust, p printer, q snapline.TokenRequest) error {
	t, err := svc.CreateToken(ctx, q)
	if err != nil {
		return err
	}
	return p.result(t, func() error {
		p.note("on %s, as root, by %s: snapline agent --name %s --join COORDINATOR:PORT --data DIR --token TOKEN", t.Host, when(t.Expires), t.Host)
		return p.line("%s", t.Token)
	})
}

func tokenListCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the tokens that wait to be used", Aliases: []string{"ls"},
		Example:           "  snapline token list",
		Args:              exactly(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return e.withTrust(func(svc api.Trust, p printer) error { return runTokenList(cmd.Context(), svc, p) })
		},
	}
}

func runTokenList(ctx context.Context, svc api.Trust, p printer) error {
	all, err := svc.Tokens(ctx)
	if err != nil {
		return err
	}
	return p.result(all, func() error {
		if len(all) == 0 {
			p.note("no token waits to be used")
			return nil
		}
		var rows [][]any
		for _, t := range all {
			rows = append(rows, []any{t.ID, t.Host, t.By, when(t.Created), when(t.Expires)})
		}
		return p.table([]column{left("TOKEN"), left("HOST"), left("MADE BY"), left("MADE"), left("UNTIL")}, rows)
	})
}

func tokenRevokeCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use: "revoke TOKEN", Short: "Make a token useless", Aliases: []string{"rm"},
		Long:              `Make a token useless. TOKEN is its id, as "snapline token list" shows it, not the secret.`,
		Example:           "  snapline token revoke 1f2e3d4c5b6a7988",
		Args:              exactly("TOKEN"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			return e.withTrust(func(svc api.Trust, p printer) error {
				if err := svc.RevokeToken(cmd.Context(), args[0]); err != nil {
					return err
				}
				done := struct {
					ID    string `json:"id"`
					State string `json:"state"`
				}{args[0], "revoked"}
				return p.result(done, func() error { return p.line("revoked token %s", args[0]) })
			})
		},
	}
}
