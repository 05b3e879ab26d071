package cli

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/snapline/snapline/api"
)

// Deps is what the commands need of the world.
type Deps struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Env looks an environment variable up, as os.LookupEnv.
	Env func(string) (string, bool)
	// Extra are further commands: those that run Snapline itself.
	Extra []*cobra.Command
}

// Groups of commands in the help text.
const (
	groupSnapshots = "snapshots"
	groupGroups    = "groups"
	groupAccess    = "access"
	groupRecovery  = "recovery"
	groupRun       = "run"
)

// Run executes one command line, prints its error if there is one, and returns
// the exit status. ctx is the command's; when it ends, a running take is
// cancelled and anything else stops.
func Run(ctx context.Context, d Deps, args []string) int {
	root := New(d)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	if ran := (*runError)(nil); errors.As(err, &ran) {
		err = ran.err
	} else {
		err = usageError(cmd, err)
	}
	return printError(d.Stderr, err, wantsJSON(args))
}

// runError is an error of a command that ran. Any other is cobra's, of a
// command line that is wrong.
type runError struct{ err error }

func (e *runError) Error() string { return e.err.Error() }

// wantsJSON looks for --json by itself: the error may be about the flags.
func wantsJSON(args []string) bool {
	if i := slices.Index(args, "--"); i >= 0 {
		args = args[:i]
	}
	return slices.Contains(args, "--json") || slices.Contains(args, "--json=true")
}

// New returns the root command. Run executes it and prints its errors.
func New(d Deps) *cobra.Command {
	e := &env{deps: d}
	root := &cobra.Command{
		Use:   "snapline",
		Short: "Consistent snapshots of groups of virtual machines",
		Long: `Snapline takes a consistent snapshot of a distributed system that runs in
virtual machines, while it runs, and brings the whole system back, on the same
or on other hosts.`,
		Example: `  snapline apply -f group.yaml      declare which virtual machines belong together
  snapline take etcd                take a snapshot of all of them
  snapline list                     see what there is
  snapline restore etcd-1           bring them all back`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          knownCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(d.Stdin)
	root.SetOut(d.Stdout)
	root.SetErr(d.Stderr)
	root.PersistentFlags().StringVar(&e.server, "server", "",
		"coordinator's `URL`: https://HOST:PORT, http://HOST:PORT or unix:///PATH, of several with commas (default: env SNAPLINE_SERVER, else port 7070 of this machine)")
	root.PersistentFlags().StringVar(&e.credentialFile, "credential", "", "`FILE` that says who you are (default: env "+envCredential+", else ~/.config/snapline/credential.pem)")
	root.PersistentFlags().BoolVar(&e.json, "json", false, `print JSON on stdout; see "snapline help json"`)
	root.AddGroup(&cobra.Group{ID: groupSnapshots, Title: "Snapshots:"}, &cobra.Group{ID: groupGroups, Title: "Groups and hosts:"},
		&cobra.Group{ID: groupRecovery, Title: "Recovery:"},
		&cobra.Group{ID: groupRepository, Title: "Repository:"}, &cobra.Group{ID: groupAccess, Title: "Who may:"})
	if len(d.Extra) > 0 {
		root.AddGroup(&cobra.Group{ID: groupRun, Title: "Running Snapline:"})
	}
	addTo(root, groupGroups, applyCommand(e), groupsCommand(e), statusCommand(e), hostsCommand(e), eventsCommand(e), doctorCommand(e))
	addTo(root, groupRecovery, protectCommand(e), unprotectCommand(e), recoverCommand(e), drainCommand(e), undrainCommand(e))
	addTo(root, groupSnapshots, takeCommand(e), listCommand(e), showCommand(e), restoreCommand(e), deleteCommand(e), pruneCommand(e), verifyCommand(e), exportCommand(e))
	addTo(root, groupRepository, repoCommand(e))
	addTo(root, groupAccess, initCommand(e), tokenCommand(e), userCommand(e), certificateCommand(e), revokeCommand(e), auditCommand(e))
	addTo(root, groupRun, d.Extra...)
	root.AddCommand(versionCommand(e), exitCodesTopic(), jsonTopic())
	eachCommand(root, func(c *cobra.Command) {
		if run := c.RunE; run != nil {
			c.RunE = func(cmd *cobra.Command, args []string) error {
				if err := run(cmd, args); err != nil {
					return &runError{err}
				}
				return nil
			}
		}
	})
	return root
}

func addTo(root *cobra.Command, group string, commands ...*cobra.Command) {
	for _, c := range commands {
		if c.GroupID == "" {
			c.GroupID = group
		}
		root.AddCommand(c)
	}
}

func eachCommand(c *cobra.Command, do func(*cobra.Command)) {
	do(c)
	for _, sub := range c.Commands() {
		eachCommand(sub, do)
	}
}

// env is what the verbs share: the world and the persistent flags.
type env struct {
	deps           Deps
	server         string
	credentialFile string
	json           bool
}

// printer returns where this command prints.
func (e *env) printer() printer {
	return printer{out: e.deps.Stdout, err: e.deps.Stderr, json: e.json, terminal: isTerminal(e.deps)}
}

// with calls run with a client of the server and a printer.
func (e *env) with(run func(api.Service, printer) error) error {
	return e.withClient(func(c *api.Client, p printer) error { return run(c, p) })
}

// withTrust is with, for the verbs about who may come in.
func (e *env) withTrust(run func(api.Trust, printer) error) error {
	return e.withClient(func(c *api.Client, p printer) error { return run(c, p) })
}

func (e *env) withClient(run func(*api.Client, printer) error) error {
	c, after, err := e.connect()
	if err != nil {
		return err
	}
	defer c.Close()
	defer after(context.Background())
	return run(c, e.printer())
}

// firstLine is for the descriptions of completions.
func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
