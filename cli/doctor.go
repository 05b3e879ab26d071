package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/api"
	"github.com/snapline/snapline/doctor"
)

type doctorOptions struct {
	group   snapline.GroupName // "": hosts
	local   bool
	program string
	host    doctor.Options
}

func doctorCommand(e *env) *cobra.Command {
	var o doctorOptions
	var group string
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Examine the hosts, or a group, and say what to do",
		Long: `Examine what snapshots depend on, by trying it, and say what to do about each
finding: kernel, gate, userfaultfd, QEMU, bridges, clock, space. Nothing of yours
is touched or changed.

With a coordinator every agent examines its host; the coordinator adds how their
clocks run beside its own. Without one, or with --local, the host is examined
that the command runs on, which takes root.

With --group the members are looked at as a snapshot would, and frames with the
mark of a coloured cut go through the members' own networks, from each of them
to each other, as in a round's PROBE phase. Nothing is withheld from a VM and
none is paused.

A problem gives exit status 3, and the findings all the same; a warning does not.`,
		Example: `  snapline doctor
  snapline doctor --group etcd
  sudo snapline doctor --local --data /var/lib/snapline/agent`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.group = snapline.GroupName(group)
			if o.group != "" && o.local {
				return invalid("leave out --local", "the paths of a group are between several hosts: it takes the coordinator")
			}
			found, err := o.find(cmd.Context(), e)
			if err != nil {
				return err
			}
			p := e.printer()
			if err := p.result(found, func() error { return p.findings(found) }); err != nil {
				return err
			}
			return judge(found)
		},
	}
	f := cmd.Flags()
	f.StringVar(&group, "group", "", "look at this `GROUP`'s members and the paths between them")
	f.BoolVar(&o.local, "local", false, "examine this host, whether there is a coordinator or not")
	f.StringVar(&o.host.Data, "data", defaultAgentData, "with --local: the agent's `DIR`")
	f.BoolVar(&o.host.Gentle, "gentle", false, "with --local: the agent is to be run with --gentle")
	f.StringVar(&o.program, "qemu", defaultQEMU, "with --local: the `PROGRAM` that VMs run")
	if err := cmd.RegisterFlagCompletionFunc("group", e.completeGroups()); err != nil {
		panic(err)
	}
	return cmd
}

const (
	defaultAgentData = "/var/lib/snapline/agent"
	defaultQEMU      = "qemu-system-x86_64"
)

// find asks the coordinator; when there is none and none was named, this host.
func (o doctorOptions) find(ctx context.Context, e *env) ([]snapline.Finding, error) {
	if !o.local {
		var found []snapline.Finding
		err := e.with(func(svc api.Service, _ printer) (err error) {
			found, err = svc.Doctor(ctx, o.group)
			return err
		})
		named, _ := e.deps.Env("SNAPLINE_SERVER")
		var unreachable *snapline.Error
		if o.group != "" || e.server != "" || named != "" || !errors.As(err, &unreachable) || unreachable.Code != snapline.CodeUnavailable {
			return found, err
		}
		e.printer().note("no coordinator at %s: looking at this host only", api.DefaultServer)
	}
	return doctor.Examine(ctx, thisHost{o.program}, o.host), ctx.Err()
}

// judge makes problems the command's end.
func judge(found []snapline.Finding) error {
	problems := slices.DeleteFunc(slices.Clone(found), func(f snapline.Finding) bool { return f.State != snapline.FindingProblem })
	if len(problems) == 0 {
		return nil
	}
	return &snapline.Error{Code: snapline.CodeRefused, Message: fmt.Sprintf("%s found", count(len(problems), "problem")), Hint: "each says what to do; then run `snapline doctor` again"}
}

// marks are what a finding's line begins with, and its colour.
var marks = map[snapline.FindingState]struct {
	sign   string
	colour text.Color
}{
	snapline.FindingOK:      {"ok", text.FgGreen},
	snapline.FindingWarning: {"warning", text.FgYellow},
	snapline.FindingProblem: {"problem", text.FgRed},
}

// findings prints them by host and member, hints below what they are about.
func (p printer) findings(found []snapline.Finding) error {
	width, colours := screen(p)
	var where string
	tally := map[snapline.FindingState]int{}
	for i, f := range found {
		tally[f.State]++
		if at := subject(f); at != where || i == 0 {
			if i > 0 {
				if err := p.line(""); err != nil {
					return err
				}
			}
			where = at
			if err := p.line("%s", at); err != nil {
				return err
			}
		}
		sign := fmt.Sprintf("%-7s", marks[f.State].sign)
		if colours {
			sign = text.Colors{marks[f.State].colour}.Sprint(sign)
		}
		if err := p.line("  %s  %-12s %s", sign, f.Check, fold(f.Text, width, "")); err != nil {
			return err
		}
		if f.Hint != "" {
			if err := p.line("%s→ %s", findingIndent, fold(f.Hint, width-2, "  ")); err != nil {
				return err
			}
		}
	}
	p.note("%s, %s, %d ok", count(tally[snapline.FindingProblem], "problem"), count(tally[snapline.FindingWarning], "warning"), tally[snapline.FindingOK])
	return nil
}

func subject(f snapline.Finding) string {
	switch {
	case f.Member != "":
		return fmt.Sprintf("member %s on host %s", f.Member, f.Host)
	case f.Host != "":
		return "host " + string(f.Host)
	}
	return "this host"
}

// findingIndent is what stands left of a finding's text.
var findingIndent = strings.Repeat(" ", 24)

// fold breaks a text to what is left of the width; 0 or too little is no limit.
func fold(s string, width int, indent string) string {
	room := width - len(findingIndent)
	if room < 20 {
		return s
	}
	return strings.ReplaceAll(strings.TrimRight(text.WrapSoft(s, room), " "), "\n", "\n"+findingIndent+indent)
}

// screen is the width of the terminal on stdout, and whether its user wants
// colours; 0 and false when it is none.
func screen(p printer) (width int, colours bool) {
	f, ok := p.out.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0, false
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		width = 0
	}
	return width, os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}
