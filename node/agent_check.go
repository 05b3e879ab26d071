package node

import (
	"context"
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/protocol"
)

// spoolReserve is what must stay free beside the largest possible capture.
const spoolReserve = 64 << 20

// check finds every reason why the member cannot be cut, and gets everything
// ready when there is none. What it acquires is in d for drop to release.
func (r *memberRunner) check(d *round, e protocol.Check) (protocol.Input, error) {
	in := protocol.Checked{Round: d.number}
	add := func(reasons ...snapline.Reason) {
		for _, reason := range reasons {
			reason.Member, reason.Host = r.key.member, r.agent.Host
			in.Reasons = append(in.Reasons, reason)
		}
	}
	vm, err := r.agent.Hypervisor.Adopt(d.ctx, e.Member)
	if err != nil {
		add(snapline.Reason{Text: err.Error()})
	} else {
		d.mu.Lock()
		d.vm = vm
		d.mu.Unlock()
		d.work.Go(func() { r.watch(d, vm) })
		add(vm.Problems(d.ctx)...)
		info := vm.Info()
		in.RAMBytes = info.RAMBytes
		for _, n := range info.NICs {
			in.MACs = append(in.MACs, n.MAC)
		}
		r.agent.fences.forgetHush(r.key)
		add(r.openGate(d, e, info.NICs)...)
	}
	add(r.agent.space(d.ctx, in.RAMBytes)...)
	if len(in.Reasons) > 0 {
		return in, nil
	}
	if e.Hush {
		if err := r.agent.fences.readyHush(d.ctx, r.key, e.Member, d.number, vm.Info().NICs); err != nil {
			in.Unhushed = err.Error()
		}
	}
	capture, err := vm.Prime(d.ctx, filepath.Join(r.agent.spoolDir(), fmt.Sprintf("%s-%d-%s", r.key.group, d.number, r.key.member)))
	if err != nil {
		add(snapline.Reason{Text: err.Error()})
		return in, nil
	}
	d.mu.Lock()
	d.capture = capture
	d.mu.Unlock()
	return in, nil
}

// openGate puts the gate up with all rules off; the barrier cut needs none.
func (r *memberRunner) openGate(d *round, e protocol.Check, nics []snapline.NIC) []snapline.Reason {
	if e.Strategy == snapline.Barrier {
		return nil
	}
	r.agent.fences.seen(r.key, nics)
	if reason := r.outOfQuarantine(d.ctx); reason != nil {
		return []snapline.Reason{*reason}
	}
	gate, err := r.agent.Gates.Open(d.ctx, nics, e.Post)
	if err != nil {
		return []snapline.Reason{{Text: err.Error(), Hint: "or take it with --cut barrier, which needs no gate"}}
	}
	d.mu.Lock()
	d.gate = gate
	d.mu.Unlock()
	d.work.Go(func() {
		for {
			select {
			case <-d.ctx.Done():
				return
			case <-gate.Withheld():
				r.loop.post(protocol.Withheld{Round: d.number})
			}
		}
	})
	return nil
}

// watch reports that the VM has gone away while the round holds it.
func (r *memberRunner) watch(d *round, vm snapline.VM) {
	select {
	case <-d.ctx.Done():
	case <-vm.Gone():
		r.loop.post(protocol.Gone{Round: d.number})
	}
}

// space checks that spool and repository could take the whole RAM: how well it
// compresses is only known afterwards.
func (a *Agent) space(ctx context.Context, ram int64) []snapline.Reason {
	var reasons []snapline.Reason
	need := ram + spoolReserve
	var fs unix.Statfs_t
	if err := unix.Statfs(a.spoolDir(), &fs); err != nil {
		reasons = append(reasons, snapline.Reason{Text: fmt.Sprintf("spool %s: %v", a.spoolDir(), err)})
	} else if free := int64(fs.Bavail) * fs.Bsize; free < need {
		reasons = append(reasons, snapline.Reason{Text: fmt.Sprintf("spool %s: %d MiB free, %d MiB needed", a.spoolDir(), free>>20, need>>20),
			Hint: "free some space, or start the agent with its --data on a larger disk"})
	}
	repo, err := a.repository()
	if err != nil {
		return append(reasons, snapline.Reason{Text: err.Error()})
	}
	free, err := repo.Free(ctx)
	switch {
	case err != nil:
		reasons = append(reasons, snapline.Reason{Text: fmt.Sprintf("repository: %v", err)})
	case free < need:
		reasons = append(reasons, snapline.Reason{Text: fmt.Sprintf("repository: %d MiB free, %d MiB may be needed", free>>20, need>>20),
			Hint: "delete snapshots that are no longer needed"})
	}
	return reasons
}
