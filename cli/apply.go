package cli

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/snapline/snapline/api"
	"github.com/snapline/snapline/groupfile"
)

type applyOptions struct {
	file  string
	stdin io.Reader
}

func applyCommand(e *env) *cobra.Command {
	o := applyOptions{stdin: e.deps.Stdin}
	cmd := &cobra.Command{
		Use:   "apply -f FILE",
		Short: "Declare a group of virtual machines, or change one",
		Long: `Declare which virtual machines make one distributed system. They are adopted as
they run; nothing is started, stopped or changed. A group file:

  group: etcd
  members:
    - name: n1
      host: h1
      qemu: { qmp: /run/vms/n1.qmp }    # QEMU's monitor socket on that host
  anti_affinity:                        # optional: of each set, never two
    - [n1, n2, n3]                      # on one host when a recovery places them`,
		Example: `  snapline apply -f group.yaml
  generate-group | snapline apply -f -`,
		SuggestFor: []string{"create", "declare"},
		Args:       exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return e.with(func(svc api.Service, p printer) error { return runApply(cmd.Context(), svc, p, o) })
		},
	}
	cmd.Flags().StringVarP(&o.file, "file", "f", "", "group `FILE`, - for stdin")
	return cmd
}

func runApply(ctx context.Context, svc api.Service, p printer, o applyOptions) error {
	name, data, err := o.read()
	if err != nil {
		return err
	}
	g, err := groupfile.Parse(name, data)
	if err != nil {
		return err
	}
	status, err := svc.Apply(ctx, g)
	if err != nil {
		return err
	}
	return p.result(status, func() error {
		if err := p.line("group %s has %s", g.Name, count(len(g.Members), "member")); err != nil {
			return err
		}
		return printMembers(p, status)
	})
}

// read returns the file's name for messages, and what is in it.
func (o applyOptions) read() (string, []byte, error) {
	if o.file == "" {
		return "", nil, invalid("usage: snapline apply -f FILE", "which group file? -f is missing")
	}
	name, from := o.file, o.stdin
	if o.file == "-" {
		name = "stdin"
	} else {
		f, err := os.Open(o.file)
		if err != nil {
			return "", nil, invalid("", "group file: %v", err)
		}
		defer f.Close()
		from = f
	}
	data, err := io.ReadAll(io.LimitReader(from, groupfile.MaxBytes+1))
	if err != nil {
		return "", nil, fmt.Errorf("read %s: %w", name, err)
	}
	return name, data, nil
}
