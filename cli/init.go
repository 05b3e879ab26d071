package cli

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/trust"
)

type initOptions struct {
	data     string
	operator string
	out      string
}

// trustDir is where a coordinator's data has the authority.
func trustDir(data string) string { return filepath.Join(data, "trust") }

func initCommand(e *env) *cobra.Command {
	var o initOptions
	cmd := &cobra.Command{
		Use:   "init --data DIR",
		Short: "Make a cluster's certificate authority and its first operator",
		Long: `Make a cluster's certificate authority in the coordinator's data directory, and
the credential of its first operator. From then on the coordinator speaks TLS to
everybody, and lets nobody in without a certificate: hosts join with "snapline token
create", users with "snapline user add".

Run it once, where the coordinator is to run, before it is started. WHOEVER HAS THE
AUTHORITY'S KEY CAN BE ANYBODY: DIR/trust belongs to the coordinator's user alone.`,
		Example: `  snapline init --data /var/lib/snapline/coordinator
  snapline init --data /var/lib/snapline/coordinator --operator alice --out alice.pem`,
		Args:              exactly(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(*cobra.Command, []string) error { return runInit(e, o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.data, "data", "", "the coordinator's --data `DIR`")
	f.StringVar(&o.operator, "operator", "operator", "`NAME` of the first operator")
	f.StringVar(&o.out, "out", "", "`FILE` for the operator's credential (default: where the commands look for it, ~/.config/snapline/credential.pem)")
	if err := cmd.MarkFlagRequired("data"); err != nil {
		panic(err)
	}
	return cmd
}

// authorityResult is the JSON of "init".
type authorityResult struct {
	Principal   snapline.Principal `json:"principal"`
	Credential  string             `json:"credential"`
	Fingerprint string             `json:"fingerprint"`
	Expires     time.Time          `json:"expires"`
}

func runInit(e *env, o initOptions) error {
	if o.out == "" {
		if o.out = defaultCredential(e.deps); o.out == "" {
			return invalid("name it with --out FILE", "where should the operator's credential go?")
		}
		if err := os.MkdirAll(filepath.Dir(o.out), 0o700); err != nil {
			return err
		}
	}
	if err := snapline.CheckName("user", o.operator); err != nil {
		return invalid("", "--operator: %v", err)
	}
	out, err := filepath.Abs(o.out)
	if err != nil {
		return err
	}
	var r authorityResult
	made := false
	err = trust.Init(trustDir(o.data), o.operator, time.Now(), func(c *trust.Credential) error {
		r = authorityResult{Principal: c.Principal(), Credential: out, Fingerprint: c.Fingerprint(), Expires: c.Expires()}
		err := c.Create(out)
		made = err == nil
		return err
	})
	if err != nil && made {
		err = errors.Join(err, os.Remove(out)) // of an authority that is none
	}
	switch {
	case errors.Is(err, os.ErrExist) && !made && r.Credential == "":
		return &snapline.Error{Code: snapline.CodeRefused, Message: "there is an authority already: " + trustDir(o.data), Err: err,
			Hint: "users are added with `snapline user add`, hosts with `snapline token create`"}
	case errors.Is(err, os.ErrExist):
		return &snapline.Error{Code: snapline.CodeRefused, Message: out + " exists already; nothing was made", Hint: "name another file with --out", Err: err}
	case err != nil:
		return err
	}
	p := e.printer()
	return p.result(r, func() error {
		p.note("next: start the coordinator, then on this machine `snapline token create --host NAME` for each host")
		return p.line("made authority %s\nmade credential of %s: %s", r.Fingerprint, r.Principal, r.Credential)
	})
}
