package qemu

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/qemu/qmp"
)

// describe collects what must be known to start the machine again.
func describe(ctx context.Context, ns namespace, c *qmp.Client, p *process) (snapline.VMInfo, error) {
	info := snapline.VMInfo{Hypervisor: "qemu", Version: c.Version().String()}
	if err := describeProcess(p, &info); err != nil {
		return info, err
	}
	if err := describeMachine(ctx, c, &info); err != nil {
		return info, err
	}
	var err error
	info.NICs, err = describeNICs(ctx, ns, c, p)
	return info, err
}

func describeProcess(p *process, info *snapline.VMInfo) error {
	args, err := p.words("cmdline")
	if err != nil {
		return err
	}
	if len(args) == 0 {
		return fmt.Errorf("process %d: no command line", p.pid)
	}
	info.Args = args[1:]
	env, err := p.words("environ")
	if err != nil {
		return err
	}
	info.Env = keptEnv(env)
	if info.Exec, err = p.exe(); err != nil {
		return err
	}
	if info.Dir, err = os.Readlink(p.path("cwd")); err != nil {
		return err
	}
	info.Dir = strings.TrimSuffix(info.Dir, " (deleted)")
	info.UID, info.GID, err = p.effectiveIDs()
	return err
}

// keptNames are the variables that QEMU and its libraries act on. The rest
// stays out of the snapshot: a shell's environment often holds secrets.
var keptNames = map[string]bool{
	"PATH": true, "HOME": true, "USER": true, "LOGNAME": true, "SHELL": true,
	"LANG": true, "LANGUAGE": true, "TZ": true, "TMPDIR": true,
	"XDG_RUNTIME_DIR": true, "LD_LIBRARY_PATH": true,
}

func keptEnv(env []string) []string {
	var kept []string
	for _, kv := range env {
		name, _, _ := strings.Cut(kv, "=")
		if keptNames[name] || strings.HasPrefix(name, "LC_") || strings.HasPrefix(name, "QEMU_") {
			kept = append(kept, kv)
		}
	}
	return kept
}

func describeMachine(ctx context.Context, c *qmp.Client, info *snapline.VMInfo) error {
	kind, err := qomString(ctx, c, "/machine", "type")
	if err != nil {
		return err
	}
	// The class of an alias such as q35 is the versioned type that it stands for.
	info.Machine = strings.TrimSuffix(kind, "-machine")
	kvm, err := qmp.Run(ctx, c, qmp.QueryKVM{})
	if err != nil {
		return err
	}
	info.Accel = "tcg"
	if kvm.Enabled {
		info.Accel = "kvm"
	}
	memory, err := qmp.Run(ctx, c, qmp.QueryMemory{})
	if err != nil {
		return err
	}
	info.RAMBytes = memory.Base + memory.Plugged
	cpus, err := qmp.Run(ctx, c, qmp.QueryCPUs{})
	info.VCPUs = len(cpus)
	return err
}

// qomString reads a property that is a string.
func qomString(ctx context.Context, c *qmp.Client, path, property string) (string, error) {
	raw, err := qmp.Run(ctx, c, qmp.QOMGet{Path: path, Property: property})
	if err != nil {
		return "", fmt.Errorf("%s of %s: %w", property, path, err)
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", fmt.Errorf("%s of %s: %w", property, path, err)
	}
	return s, nil
}
