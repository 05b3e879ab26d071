package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/lab"
)

// NewLabCommand returns "snapline lab": a playground of several hosts on one
// machine.
func NewLabCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lab",
		Short: "A playground: hosts, agents and virtual machines on this machine",
		Long: `A playground: hosts as network namespaces of this machine, joined by a switch,
each with an agent; a coordinator; and virtual machines with a real workload.
Every address of a lab lives in its namespaces. Needs root.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(labUpCommand(), labStatusCommand(), labDownCommand(), labKillCommand(), labStartCommand(), labLoadCommand())
	return cmd
}

// labName is the lab that is meant when no name is given.
const labName = "lab"

func labNameOf(args []string) string {
	if len(args) > 0 {
		return args[0]
	}
	return labName
}

func labUpCommand() *cobra.Command {
	o := lab.Options{}
	workload := ""
	cmd := &cobra.Command{
		Use:   "up [NAME]",
		Short: "Build a lab and wait until its workload is healthy",
		Example: `  snapline lab up
  snapline lab up shop --workload bank --hosts 4`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			self, err := os.Executable()
			if err != nil {
				return err
			}
			o.Name, o.Snapline, o.Workload = labNameOf(args), self, lab.Workload(workload)
			stderr := cmd.ErrOrStderr()
			l, err := lab.Up(cmd.Context(), o, func(s string) { fmt.Fprintln(stderr, s) })
			if errors.Is(err, lab.ErrExists) {
				return &snapline.Error{Code: snapline.CodeBusy, Message: err.Error(), Hint: "snapline lab down " + o.Name}
			}
			if err != nil {
				return err
			}
			return printLab(cmd, l)
		},
	}
	f := cmd.Flags()
	f.StringVar(&workload, "workload", string(lab.Etcd), "etcd, bank, datagrams, idle or none")
	f.IntVar(&o.Hosts, "hosts", 3, "how many hosts, each with one VM")
	f.IntVar(&o.MemMB, "mem", 256, "memory of each VM, in MiB")
	f.IntVar(&o.DiskMB, "disk", 0, "size of each VM's disk, in MiB; -1 is none (default 512 for etcd, otherwise none)")
	f.StringVar(&o.Repository, "repo", "", "an existing repository for the snapshots (default: one of the lab's own)")
	f.StringVar(&o.S3, "s3", "", "the program of versitygw: it serves the lab's own repository by S3")
	f.StringVar(&o.KeyFile, "key-file", "", "what opens --repo")
	return cmd
}

func labStatusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status [NAME]",
		Short: "Show a lab's hosts, processes and virtual machines",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := openLab(labNameOf(args))
			if err != nil {
				return err
			}
			return printLab(cmd, l)
		},
	}
}

func labDownCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "down [NAME]",
		Short: "End and remove everything of a lab, its snapshots too",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return lab.Down(cmd.Context(), labNameOf(args))
		},
	}
}

func labKillCommand() *cobra.Command {
	name, host := labName, ""
	cmd := &cobra.Command{
		Use:     "kill [VM...]",
		Short:   "SIGKILL virtual machines of a lab (all of them without a name), or a host",
		Example: "  snapline lab kill\n  snapline lab kill n2 --lab shop\n  snapline lab kill --host h2",
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := openLab(name)
			if err != nil {
				return err
			}
			if host != "" {
				if len(args) > 0 {
					return &snapline.Error{Code: snapline.CodeInvalid, Message: "kill virtual machines, or a host with all that runs on it"}
				}
				if err := l.KillHost(cmd.Context(), host); err != nil {
					return err
				}
				fmt.Fprintf(cmd.ErrOrStderr(), "killed %s: its agent and its virtual machines (snapline lab start %s brings the agent back)\n", host, host)
				return nil
			}
			if len(args) == 0 {
				for _, vm := range l.VMs() {
					args = append(args, vm.Name)
				}
			}
			for _, vm := range args {
				if err := l.KillVM(cmd.Context(), vm); err != nil && !errors.Is(err, lab.ErrNoVM) {
					return err
				}
				fmt.Fprintln(cmd.ErrOrStderr(), "killed", vm)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&name, "lab", labName, "the lab")
	cmd.Flags().StringVar(&host, "host", "", "the host to kill, its agent too")
	return cmd
}

func labStartCommand() *cobra.Command {
	name := labName
	cmd := &cobra.Command{
		Use:   "start HOST",
		Short: "Start a host's agent again that was killed",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := openLab(name)
			if err != nil {
				return err
			}
			return l.StartAgent(args[0])
		},
	}
	cmd.Flags().StringVar(&name, "lab", labName, "the lab")
	return cmd
}

func openLab(name string) (*lab.Lab, error) {
	l, err := lab.Open(name)
	if errors.Is(err, lab.ErrNotFound) {
		return nil, &snapline.Error{Code: snapline.CodeNotFound, Message: err.Error(), Hint: "snapline lab up " + name}
	}
	return l, err
}

// labView is what "lab status --json" prints.
type labView struct {
	Name        string      `json:"name"`
	Dir         string      `json:"dir"`
	Server      string      `json:"server"`
	GroupFile   string      `json:"group_file"`
	Repository  string      `json:"repository"`
	KeyFile     string      `json:"key_file"`
	Env         []string    `json:"env,omitempty"` // what else a program needs to reach the repository
	Coordinator bool        `json:"coordinator"`
	Hosts       []labHost   `json:"hosts"`
	VMs         []labVMView `json:"vms"`
}

type labHost struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
	Agent     bool   `json:"agent"`
}

type labVMView struct {
	Name    string `json:"name"`
	Host    string `json:"host"` // where it runs now; empty when it does not
	PID     int    `json:"pid"`
	Address string `json:"address"`
	QMP     string `json:"qmp"`
}

func viewLab(l *lab.Lab) labView {
	v := labView{Name: l.Name, Dir: l.Dir, Server: l.Server(), GroupFile: l.GroupFile(), Coordinator: l.DaemonAlive("coordinator")}
	v.Repository, v.KeyFile = l.Repository()
	v.Env = l.Env()
	for _, h := range l.Hosts() {
		v.Hosts = append(v.Hosts, labHost{Name: h.Name, Namespace: h.Namespace, Agent: l.DaemonAlive(h.Name)})
	}
	for _, vm := range l.VMs() {
		w := labVMView{Name: vm.Name, Address: vm.Address, QMP: vm.QMP}
		if pid, err := l.VMPid(vm.Name); err == nil {
			w.PID = pid
			w.Host, _ = l.VMHost(vm.Name) // gone in between: no host
		}
		v.VMs = append(v.VMs, w)
	}
	return v
}

func printLab(cmd *cobra.Command, l *lab.Lab) error {
	v := viewLab(l)
	out := cmd.OutOrStdout()
	if asJSON, err := cmd.Flags().GetBool("json"); err == nil && asJSON {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		return enc.Encode(v)
	}
	return writeLab(out, v)
}

func writeLab(out io.Writer, v labView) error {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.AppendHeader(table.Row{"VM", "host", "process", "address"})
	for _, vm := range v.VMs {
		host, process := vm.Host, fmt.Sprint(vm.PID)
		if vm.PID == 0 {
			host, process = "–", "not running"
		}
		t.AppendRow(table.Row{vm.Name, host, process, vm.Address})
	}
	if len(v.VMs) > 0 {
		fmt.Fprintln(out, t.Render())
	}
	for _, h := range v.Hosts {
		if !h.Agent {
			fmt.Fprintf(out, "the agent of %s is not running\n", h.Name)
		}
	}
	if !v.Coordinator {
		fmt.Fprintln(out, "the coordinator is not running")
	}
	fmt.Fprintf(out, "\nTo talk to it:\n  export SNAPLINE_SERVER=%s SNAPLINE_KEY_FILE=%s\n", v.Server, v.KeyFile)
	for _, e := range v.Env {
		fmt.Fprintf(out, "  export %s\n", e)
	}
	_, err := fmt.Fprintf(out, "  snapline apply -f %s\n", v.GroupFile)
	return err
}

func labLoadCommand() *cobra.Command {
	name := labName
	cmd := &cobra.Command{
		Use:   "load",
		Short: "Write to the lab's etcd cluster until Ctrl-C, then say what its client saw",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := openLab(name)
			if err != nil {
				return err
			}
			return runLoad(cmd.Context(), l, cmd.ErrOrStderr())
		},
	}
	cmd.Flags().StringVar(&name, "lab", labName, "the lab")
	return cmd
}

// runLoad writes until ctx ends.
func runLoad(ctx context.Context, l *lab.Lab, w io.Writer) error {
	if l.Workload() != lab.Etcd {
		return &snapline.Error{Code: snapline.CodeInvalid, Message: fmt.Sprintf("lab %s runs %s, and the load is for etcd", l.Name, l.Workload())}
	}
	return followLoad(ctx, l, w)
}
