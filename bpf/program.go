package bpf

import (
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"

	"github.com/snapline/snapline"
)

// load brings the two programs and their maps into the kernel, rules off,
// attached to nothing.
func load(post snapline.Codepoint) (*gateObjects, error) {
	// 0 is what every unmarked packet has.
	if post == 0 || post > 63 {
		return nil, fmt.Errorf("codepoint %d cannot mark packets: use 1 to 63", post)
	}
	spec, err := loadGate()
	if err != nil {
		return nil, err
	}
	if err := spec.Variables[gateVarPost].Set(uint8(post)); err != nil {
		return nil, fmt.Errorf("set codepoint: %w", err)
	}
	// The kernel wants whole pages, and those are 64 KiB on some machines.
	spec.Maps[gateMapNotices].MaxEntries = uint32(os.Getpagesize())
	objs := new(gateObjects)
	if err := spec.LoadAndAssign(objs, nil); err != nil {
		return nil, explain(err)
	}
	return objs, nil
}

// explain finds out, once loading has failed, what the operator can do.
func explain(err error) error {
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("load gate: %w (run the agent as root, or with CAP_BPF and CAP_NET_ADMIN)", err)
	}
	for _, need := range []struct {
		what  string
		probe error
	}{
		{"the boot clock in eBPF", features.HaveProgramHelper(ebpf.SchedCLS, asm.FnKtimeGetBootNs)},
		{"eBPF ring buffers", features.HaveMapType(ebpf.RingBuf)},
	} {
		if errors.Is(need.probe, ebpf.ErrNotSupported) {
			return fmt.Errorf("load gate: this kernel lacks %s (Linux 5.8 or later is needed): %w", need.what, err)
		}
	}
	return fmt.Errorf("load gate: %w", err)
}
