package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/api"
)

func certificateCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "certificate",
		Short:   "Show who has been admitted; issue certificates by hand",
		Aliases: []string{"cert"},
		Example: `  snapline certificate list
  snapline certificate show
  snapline certificate issue nats/n1 --host n1.example.com`,
		Args: knownSubcommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(certificateListCommand(e), certificateShowCommand(e), certificateIssueCommand(e))
	return cmd
}

func certificateListCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List everybody who was ever admitted", Aliases: []string{"ls"},
		Example:           "  snapline certificate list",
		Args:              exactly(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return e.withTrust(func(svc api.Trust, p printer) error { return runCertificateList(cmd.Context(), svc, p) })
		},
	}
}

func runCertificateList(ctx context.Context, svc api.Trust, p printer) error {
	all, err := svc.Certificates(ctx)
	if err != nil {
		return err
	}
	return p.result(all, func() error {
		var rows [][]any
		for _, c := range all {
			state := "good until " + when(c.Expires)
			switch {
			case c.Revoked != nil:
				state = "revoked " + when(*c.Revoked)
			case time.Now().After(c.Expires):
				state = "ended " + when(c.Expires)
			}
			rows = append(rows, []any{c.Principal, dash(string(c.Role)), c.By, when(c.Since), state})
		}
		return p.table([]column{left("WHO"), left("ROLE"), left("ADMITTED BY"), left("SINCE"), left("CERTIFICATE")}, rows)
	})
}

func certificateShowCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "show",
		Short: "Show the credential that the commands use",
		Long:  `Show the credential that the commands use: whose it is, until when, and which cluster's. Asks nobody.`,
		Example: `  snapline certificate show
  snapline certificate show --credential alice.pem`,
		Args:              exactly(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			c, path, err := e.credential()
			if err != nil {
				return err
			}
			if c == nil {
				return &snapline.Error{Code: snapline.CodeNotFound, Message: "there is no credential", Hint: "name one with --credential FILE or " + envCredential}
			}
			r := authorityResult{Principal: c.Principal(), Credential: path, Fingerprint: c.Fingerprint(), Expires: c.Expires()}
			p := e.printer()
			return p.result(r, func() error {
				return p.line("%s, good until %s\nauthority %s\n%s", r.Principal, when(r.Expires), r.Fingerprint, r.Credential)
			})
		},
	}
}

func certificateIssueCommand(e *env) *cobra.Command {
	var hosts []string
	out := ""
	cmd := &cobra.Command{
		Use:   "issue agent/HOST|nats/NAME",
		Short: "Make a credential by hand, for an external NATS cluster",
		Long: `Make a credential by hand: for a server of an external NATS cluster, or for an agent
that joins through one and so cannot use a token. The agent's is to be put at
credential.pem in its --data; it renews itself. docs/SECURITY.md tells the whole.`,
		Example: `  snapline certificate issue nats/n1 --host n1.example.com --host 10.0.0.1 --out n1.pem
  snapline certificate issue agent/h4 --out h4.pem`,
		Args:              exactly("KIND/NAME"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			q := snapline.CertificateRequest{Principal: snapline.Principal(args[0]), Hosts: hosts}
			return e.withTrust(func(svc api.Trust, p printer) error { return runIssue(cmd.Context(), svc, p, q, out) })
		},
	}
	cmd.Flags().StringArrayVar(&hosts, "host", nil, "`NAME` or address of the NATS server (repeatable)")
	cmd.Flags().StringVar(&out, "out", "", "`FILE` for the credential (default: NAME.pem)")
	return cmd
}

func revokeCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "revoke agent/HOST|user/NAME",
		Short: "Shut a host or a user out, at once",
		Long: `Shut a host or a user out. When the command returns, their connections are closed
and none of their certificates is good any more. A host's virtual machines run on.`,
		Example: `  snapline revoke agent/h4
  snapline revoke user/alice`,
		Args: exactly("KIND/NAME"),
		ValidArgsFunction: e.complete(func(ctx context.Context, svc api.Service) ([]string, error) {
			t, ok := svc.(api.Trust)
			if !ok {
				return nil, nil
			}
			all, err := t.Certificates(ctx)
			var names []string
			for _, c := range all {
				if c.Revoked == nil {
					names = append(names, string(c.Principal))
				}
			}
			return names, err
		}),
		RunE: func(cmd *cobra.Command, args []string) error {
			who := snapline.Principal(args[0])
			if err := who.Check(); err != nil {
				return invalid("see `snapline certificate list`", "%v", err)
			}
			return e.withTrust(func(svc api.Trust, p printer) error {
				if err := svc.Revoke(cmd.Context(), who); err != nil {
					return err
				}
				done := struct {
					Principal snapline.Principal `json:"principal"`
					State     string             `json:"state"`
				}{who, "revoked"}
				return p.result(done, func() error { return p.line("revoked %s", who) })
			})
		},
	}
}
