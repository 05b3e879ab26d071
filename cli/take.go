package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/api"
)

type takeOptions struct {
	request snapline.TakeRequest
}

func takeCommand(e *env) *cobra.Command {
	var note, cut string
	cmd := &cobra.Command{
		Use:   "take GROUP",
		Short: "Take a consistent snapshot of a group while it runs",
		Long: `Take a consistent snapshot of all members of a group while they run. It exists
when the command has succeeded, and not before.

The cut is made by colour (packets sent after it are withheld from members that
have not cut yet; none waits for another) or by barrier (all members are paused
together; needs nothing of the network). Ctrl-C aborts; members run on.`,
		Example: `  snapline take etcd --note "before the upgrade"
  snapline take etcd --cut barrier
  snapline take etcd --json | jq -r .id`,
		SuggestFor:        []string{"snapshot", "create", "save"},
		Args:              exactly("GROUP"),
		ValidArgsFunction: e.completeGroups(),
		RunE: func(cmd *cobra.Command, args []string) error {
			g, err := groupArg(args[0])
			if err != nil {
				return err
			}
			o := takeOptions{snapline.TakeRequest{Group: g, Note: note, Strategy: snapline.Strategy(cut)}}
			return e.with(func(svc api.Service, p printer) error { return runTake(cmd.Context(), svc, p, o) })
		},
	}
	cmd.Flags().StringVar(&note, "note", "", "`TEXT` to remember the snapshot by")
	cmd.Flags().StringVar(&cut, "cut", string(snapline.Colour), "how the members are cut: colour or barrier")
	completeFlag(cmd, "cut", cobra.FixedCompletions([]string{
		string(snapline.Colour) + "\tno member waits for another", string(snapline.Barrier) + "\tpause all members together",
	}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func runTake(ctx context.Context, svc api.Service, p printer, o takeOptions) error {
	if s := o.request.Strategy; s != snapline.Colour && s != snapline.Barrier {
		return invalid("", "--cut %q: use colour or barrier", s)
	}
	// An interrupt must not lose sight of what the request has started.
	op, err := svc.Take(context.WithoutCancel(ctx), o.request)
	if err != nil {
		return err
	}
	op, err = follow(ctx, svc, p, op, interruptTake)
	if err != nil {
		return err
	}
	if op.Take == nil {
		return fmt.Errorf("take %s ended without a result", op.ID)
	}
	if err := p.result(op.Take, func() error { return printTake(p, *op.Take) }); err != nil {
		return err
	}
	if v := op.Take.Verdict; v != nil && v.State == snapline.Inconsistent {
		return &snapline.Error{Code: snapline.CodeDamaged, Message: fmt.Sprintf("snapshot %s is no consistent cut, and cannot be restored", op.Take.ID),
			Hint: "something lets marked packets past a gate: see the orphans' addresses, and what lies between these hosts"}
	}
	return nil
}

// interruptTake is the first Ctrl-C of a take.
func interruptTake(ctx context.Context, svc api.Service, op snapline.Operation, say func(string)) {
	say("aborting the take; Ctrl-C again leaves at once")
	if err := svc.Cancel(ctx, op.ID); err != nil {
		say("abort: " + err.Error())
	}
}

func printTake(p printer, r snapline.TakeResult) error {
	var rows [][]any
	for _, m := range r.Members {
		rows = append(rows, []any{m.Name, m.Host, ms(m.PauseMS), size(m.RAMBytes), size(m.StoredBytes), m.Withheld})
	}
	err := p.table([]column{left("MEMBER"), left("HOST"), right("PAUSE"), right("RAM"), right("STORED"), right("WITHHELD")}, rows)
	if err != nil {
		return err
	}
	for _, m := range r.Members {
		if err := printMethod(p, m.Name, m.Method, m.Why); err != nil {
			return err
		}
	}
	if err := errors.Join(printCut(p, r.Cut), printVerdict(p, r.Verdict)); err != nil {
		return err
	}
	return p.line("snapshot %s %s in %s", r.ID, r.State, duration(r.DurationMS))
}

// completeFlag gives a flag's value completions. The flag exists: it was
// declared just before.
func completeFlag(cmd *cobra.Command, flag string, c completer) {
	if err := cmd.RegisterFlagCompletionFunc(flag, c); err != nil {
		panic(err)
	}
}
