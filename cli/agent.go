package cli

import (
	"context"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/bpf"
	"github.com/snapline/snapline/doctor"
	"github.com/snapline/snapline/gentle"
	"github.com/snapline/snapline/node"
	"github.com/snapline/snapline/qemu"
)

type agentOptions struct {
	name     string
	join     string
	token    joinFlags
	data     string
	bridges  []string
	diskDirs []string
	secret   secretFlags
	storage  storageFlags
	gentle   gentleFlags
	log      logOptions
	// lowerShield is for a test of the proof.
	lowerShield bool
}

// NewAgentCommand returns "snapline agent".
func NewAgentCommand() *cobra.Command {
	var o agentOptions
	cmd := &cobra.Command{
		Use:   "agent --name HOST --join HOST:PORT --data DIR [--token TOKEN]",
		Short: "Run the agent of one host: it snapshots and restores the VMs there",
		Long: `Run the agent of one host: it snapshots and restores the VMs there.

It runs as root, dials the coordinator and listens on nothing. When it ends or
is killed, the virtual machines run on, with no trace of it on their network.

It joins once, with a token of "snapline token create", which says which cluster it
is; then it has a certificate in --data, which renews itself. Only a coordinator on
this machine that has no authority is spoken to without one.

The coordinator tells it where the repository is; --key-file or --passphrase-file
opens it. For S3 it needs the credentials in its environment.

With --gentle, for a host that is somebody's desktop, captures are stored by a
process at idle priority, with at most --max-cpu of the processors, that rests
while others wait for processors, disks or memory, for --give-way at the most.
Snapshots then take longer.`,
		Example: `  snapline agent --name h1 --join 10.0.0.1:4222 --data /var/lib/snapline/agent --key-file /etc/snapline/key --token-file /etc/snapline/token
  snapline agent --name h1 --join 10.0.0.1:4222,10.0.0.2:4222,10.0.0.3:4222 --data DIR --key-file FILE
  snapline agent --name h2 --join 10.0.0.1:4222 --data DIR --key-file FILE --bridge br0=virbr0 --disk-dir /vms=/srv/vms
  snapline agent --name h3 --join 10.0.0.1:4222 --data DIR --key-file FILE --gentle --max-cpu 25% --upload-rate 10MiB/s`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runAgent(cmd.Context(), o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.name, "name", "", "this host's name in group files")
	f.StringVar(&o.join, "join", "", "the coordinator's --listen address, those of all coordinators with commas, or the NATS cluster's URLs (tls://…)")
	o.token.register(f)
	f.StringVar(&o.data, "data", "", "directory for captures on their way to the repository, and logs of restored VMs")
	f.StringArrayVar(&o.bridges, "bridge", nil, "OLD=NEW: restored VMs that were on bridge OLD go to NEW here (repeatable)")
	f.StringArrayVar(&o.diskDirs, "disk-dir", nil, "OLD=NEW: disks of restored VMs that were in directory OLD go to NEW here (repeatable)")
	o.secret.register(f)
	o.storage.register(f)
	o.gentle.register(f)
	o.log.flags(f)
	f.BoolVar(&o.lowerShield, "test-lower-shield", false, "")
	if err := f.MarkHidden("test-lower-shield"); err != nil {
		panic(err)
	}
	for _, name := range []string{"name", "join", "data"} {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err)
		}
	}
	return cmd
}

func runAgent(ctx context.Context, o agentOptions) error {
	for flag, value := range map[string]string{"name": o.name, "join": o.join, "data": o.data} {
		if value == "" {
			return invalid("as a service: see /etc/default/snapline-agent", "--%s is empty", flag)
		}
	}
	log, trace, err := o.log.open(o.data)
	if err != nil {
		return err
	}
	defer trace.close()
	manager := newServiceManager(log)
	bridges, err := mappings("--bridge", o.bridges)
	if err != nil {
		return err
	}
	diskDirs, err := mappings("--disk-dir", o.diskDirs)
	if err != nil {
		return err
	}
	secret, err := o.secret.secret(ctx, processDeps())
	if err != nil {
		return err
	}
	data, err := filepath.Abs(o.data)
	if err != nil {
		return err
	}
	options, err := o.storage.options(data)
	if err != nil {
		return err
	}
	id, err := o.identify(ctx, data, log)
	if err != nil {
		return err
	}
	processors, err := o.gentle.processors(runtime.NumCPU())
	if err != nil {
		return err
	}
	hypervisor, err := qemu.New(qemu.Options{Bridges: bridges, DiskDirs: diskDirs,
		LogDir: filepath.Join(data, "log"), StateDir: filepath.Join(data, "state")})
	if err != nil {
		return err
	}
	gates, err := bpf.New(bpf.Options{LowerShield: o.lowerShield})
	if err != nil {
		return err
	}
	conn, err := o.dial(ctx, id, log)
	if err != nil {
		return err
	}
	defer conn.Close()
	if id != nil {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		go id.keep(ctx, conn, log)
	}
	a, err := node.NewAgent(node.AgentConfig{
		Host: snapline.HostName(o.name), Version: Version(), Dir: data, Bus: conn, Hypervisor: hypervisor, Gates: gates, Fences: gates,
		OpenRepository: func(ctx context.Context, at string) (snapline.Repository, error) {
			r, err := openRepository(ctx, at, secret, o.storage.near(at, options))
			if err != nil {
				return nil, err // r is a nil pointer, which a Repository that is one is not
			}
			if !o.gentle.on {
				return r, nil
			}
			return gentle.New(r, gentle.Options{Command: storeCommand(at, o.secret, o.storage, options.CacheDir), Processors: processors, Patience: o.gentle.giveWay}), nil
		},
		HypervisorName: hypervisorName(ctx), Log: log, Trace: trace.line,
		Examine: func(ctx context.Context) []snapline.Finding {
			return doctor.Examine(ctx, thisHost{defaultQEMU}, doctor.Options{Data: data, Gentle: o.gentle.on})
		},
	})
	if err != nil {
		return &snapline.Error{Code: snapline.CodeInvalid, Message: err.Error()}
	}
	ctx, end := context.WithCancel(ctx)
	var told sync.WaitGroup
	defer told.Wait()
	defer end()
	told.Go(func() { manager.follow(ctx, a.Ready(), a.Alive) })
	return a.Run(ctx)
}

// mappings reads OLD=NEW pairs.
func mappings(flag string, pairs []string) (map[string]string, error) {
	all := map[string]string{}
	for _, p := range pairs {
		from, to, ok := strings.Cut(p, "=")
		if !ok || from == "" || to == "" {
			return nil, invalid("", "%s %s: write OLD=NEW", flag, p)
		}
		all[from] = to
	}
	return all, nil
}

// hypervisorName is what "snapline hosts" shows of this host's QEMU. A host
// whose machines all run another program can do without one in PATH.
func hypervisorName(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, defaultQEMU, "--version").Output()
	if err != nil {
		return "no QEMU in PATH"
	}
	line, _, _ := strings.Cut(string(out), "\n")
	if i := strings.Index(line, " ("); i > 0 {
		line = line[:i]
	}
	return strings.Replace(line, " emulator version", "", 1)
}
