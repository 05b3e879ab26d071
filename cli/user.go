package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/api"
	"github.com/snapline/snapline/trust"
)

func userCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "user",
		Short:   "Admit people and programs that use the commands",
		Example: "  snapline user add alice --role viewer",
		Args:    knownSubcommand,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(userAddCommand(e))
	return cmd
}

func userAddCommand(e *env) *cobra.Command {
	role, out := "", ""
	cmd := &cobra.Command{
		Use:   "add NAME --role operator|viewer",
		Short: "Make a user's credential",
		Long: `Make a user's credential: a file with their certificate, their private key and the
cluster's authority. The key is made here and sent nowhere; give the file to the
user by a way that you trust. They name it with --credential or SNAPLINE_CREDENTIAL,
or put it at ~/.config/snapline/credential.pem. It renews itself while it is used.

An operator may do everything. A viewer may look, and change nothing.`,
		Example: `  snapline user add alice --role viewer
  snapline user add backup --role operator --out /etc/snapline/backup.pem`,
		Args:              exactly("NAME"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			q := snapline.CertificateRequest{Principal: snapline.NewPrincipal(snapline.KindUser, args[0]), Role: snapline.Role(role)}
			return e.withTrust(func(svc api.Trust, p printer) error { return runIssue(cmd.Context(), svc, p, q, out) })
		},
	}
	cmd.Flags().StringVar(&role, "role", "", "operator or viewer")
	cmd.Flags().StringVar(&out, "out", "", "`FILE` for the credential (default: NAME.pem)")
	if err := errors.Join(cmd.MarkFlagRequired("role"), cmd.RegisterFlagCompletionFunc("role",
		cobra.FixedCompletions([]string{"operator\tmay do everything", "viewer\tmay look"}, cobra.ShellCompDirectiveNoFileComp))); err != nil {
		panic(err)
	}
	return cmd
}

// issueResult is the JSON of "user add" and "certificate issue".
type issueResult struct {
	Principal snapline.Principal `json:"principal"`
	Role      snapline.Role      `json:"role,omitempty"`
	File      string             `json:"file"`
	Expires   time.Time          `json:"expires"`
}

// runIssue makes a key, has a certificate issued for it, and writes both.
func runIssue(ctx context.Context, svc api.Trust, p printer, q snapline.CertificateRequest, out string) error {
	if err := q.Principal.Check(); err != nil {
		return invalid("", "%v", err)
	}
	if out == "" {
		out = q.Principal.Name() + ".pem"
	}
	out, err := filepath.Abs(out)
	if err != nil {
		return err
	}
	// Before anything is issued for it: somebody's credential may be there.
	if _, err := os.Lstat(out); err == nil {
		return &snapline.Error{Code: snapline.CodeRefused, Message: out + " exists already; nothing was issued", Hint: "name another file with --out"}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return invalid("", "--out: %v", err)
	}
	r, err := trust.NewRequest()
	if err != nil {
		return err
	}
	q.CSR = r.PEM()
	issued, err := svc.Issue(ctx, q)
	if err != nil {
		return err
	}
	c, err := r.Credential(issued)
	if err == nil {
		err = c.Create(out)
	}
	if err != nil {
		return &snapline.Error{Code: snapline.CodeFailed, Err: err, Message: fmt.Sprintf("%s was admitted, but its credential could not be kept: %v", q.Principal, err),
			Hint: fmt.Sprintf("snapline revoke %s, and try again", q.Principal)}
	}
	return p.result(issueResult{q.Principal, q.Role, out, issued.Expires}, func() error {
		return p.line("made credential of %s, good until %s: %s", q.Principal, when(issued.Expires), out)
	})
}
