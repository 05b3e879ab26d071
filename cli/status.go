package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/api"
)

type statusOptions struct {
	group snapline.GroupName // "": all
}

func statusCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "status [GROUP]",
		Short: "Show how a group's members are now",
		Example: `  snapline status
  snapline status etcd`,
		Args:              atMost("GROUP"),
		ValidArgsFunction: e.completeGroups(),
		RunE: func(cmd *cobra.Command, args []string) error {
			g, err := optionalGroup(args)
			if err != nil {
				return err
			}
			return e.with(func(svc api.Service, p printer) error {
				return runStatus(cmd.Context(), svc, p, statusOptions{group: g})
			})
		},
	}
}

func runStatus(ctx context.Context, svc api.Service, p printer, o statusOptions) error {
	if o.group == "" {
		return runStatusOfAll(ctx, svc, p)
	}
	s, err := svc.Status(ctx, o.group)
	if err != nil {
		return err
	}
	return p.result(s, func() error { return printStatus(p, s) })
}

func runStatusOfAll(ctx context.Context, svc api.Service, p printer) error {
	groups, err := svc.Groups(ctx)
	if err != nil {
		return err
	}
	for i, g := range groups {
		if groups[i], err = svc.Status(ctx, g.Group.Name); err != nil {
			return err
		}
	}
	return p.result(groups, func() error {
		if len(groups) == 0 {
			p.note("no groups yet: declare one with `snapline apply -f FILE`")
		}
		for i, s := range groups {
			if i > 0 {
				if err := p.line(""); err != nil {
					return err
				}
			}
			if err := printStatus(p, s); err != nil {
				return err
			}
		}
		return nil
	})
}

func printStatus(p printer, s snapline.GroupStatus) error {
	last := "no snapshot yet"
	if s.Last != "" && s.LastAt != nil {
		last = "last snapshot " + string(s.Last) + " at " + when(*s.LastAt)
	}
	if s.Operation != "" {
		last += ", now running: " + string(s.Operation)
	}
	if err := p.line("group %s, %s, %s", s.Group.Name, count(len(s.Members), "member"), last); err != nil {
		return err
	}
	if err := printProtection(p, s.Protection); err != nil {
		return err
	}
	return printMembers(p, s)
}

func printMembers(p printer, s snapline.GroupStatus) error {
	var rows [][]any
	for _, m := range s.Members {
		rows = append(rows, []any{m.Name, m.Host, m.Agent, m.VM, m.Text})
	}
	return p.table([]column{left("MEMBER"), left("HOST"), left("AGENT"), left("VM"), left("")}, rows)
}
