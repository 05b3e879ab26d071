package qemu

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/qemu/cmdline"
	"github.com/snapline/snapline/qemu/qmp"
)

// Problems lists why the VM cannot be captured now, or could not be started
// again from what is known of it.
func (v *VM) Problems(ctx context.Context) []snapline.Reason {
	var all []snapline.Reason
	for _, check := range []func(context.Context) ([]snapline.Reason, error){
		v.runProblems, v.migrationProblems, v.diskProblems, v.deviceProblems,
	} {
		found, err := check(ctx)
		all = append(all, found...)
		if err != nil {
			all = append(all, snapline.Reason{Text: "the monitor does not tell: " + err.Error()})
		}
	}
	for _, why := range cmdline.Unrepeatable(v.info.Args) {
		all = append(all, snapline.Reason{Text: "it could not be started again: " + why})
	}
	for _, n := range v.info.NICs {
		if n.Backend == "vhost-user" {
			all = append(all, snapline.Reason{
				Text: fmt.Sprintf("network back end %s is vhost-user, whose state is in another process", n.ID),
				Hint: "use a tap",
			})
		}
	}
	for i := range all {
		all[i].Member = v.name
	}
	return all
}

// runProblems judges the run state.
func (v *VM) runProblems(ctx context.Context) ([]snapline.Reason, error) {
	st, err := v.status(ctx)
	if err != nil || st.Running {
		return nil, err
	}
	v.mu.Lock()
	ours := v.pause != nil
	v.mu.Unlock()
	if ours {
		return nil, nil
	}
	r := snapline.Reason{Text: "it is not running but " + st.Status}
	switch st.Status {
	case "paused", "postmigrate", "prelaunch":
		r.Hint = `resume it ("cont" on a monitor)`
	case "inmigrate":
		r.Hint = "wait for its incoming migration"
	}
	return []snapline.Reason{r}, nil
}

// migrationProblems judges what would keep a migration, and so a capture, from
// starting. QEMU itself knows which devices cannot migrate.
func (v *VM) migrationProblems(ctx context.Context) ([]snapline.Reason, error) {
	m, err := qmp.Run(ctx, v.client, qmp.QueryMigrate{})
	if err != nil {
		return nil, err
	}
	var all []snapline.Reason
	for _, why := range m.Blocked {
		all = append(all, snapline.Reason{Text: "its state cannot be saved: " + why})
	}
	v.mu.Lock()
	ours := v.capture != nil
	v.mu.Unlock()
	if m.Under() && !ours {
		all = append(all, snapline.Reason{Text: "a migration is under way: " + m.Status, Hint: "wait for its end"})
	}
	return all, nil
}

// deviceProblems finds devices that came or went after the start: the command
// line no longer describes the machine.
func (v *VM) deviceProblems(ctx context.Context) ([]snapline.Reason, error) {
	devices, err := qmp.Run(ctx, v.client, qmp.QOMList{Path: "/machine/peripheral"})
	if err != nil {
		return nil, err
	}
	var declared, present []string
	for _, o := range cmdline.Parse(v.info.Args) {
		if o.Name == "device" || o.Name == "nic" {
			declared = append(declared, cmdline.ParseParams(o.Value).Get("id"))
		}
	}
	for _, d := range devices {
		if strings.HasPrefix(d.Type, "child<") {
			present = append(present, d.Name)
		}
	}
	var all []snapline.Reason
	for _, id := range present {
		if !slices.Contains(declared, id) && !slices.Contains(v.info.Args, "-readconfig") {
			all = append(all, snapline.Reason{Text: fmt.Sprintf("device %s was plugged in after the start and is not on the command line", id), Hint: "restart the VM with it"})
		}
	}
	for _, id := range declared {
		if id != "" && !slices.Contains(present, id) {
			all = append(all, snapline.Reason{Text: fmt.Sprintf("device %s of the command line has been unplugged", id), Hint: "restart the VM without it"})
		}
	}
	return all, nil
}
