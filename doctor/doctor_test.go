package doctor_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/doctor"
)

// fake is a host that is as good as can be, until a test spoils it.
type fake struct {
	uid           int
	kernel        error
	ring          error
	tcx, clsact   error
	uffd          error
	rootOnly      bool
	qemu          doctor.QEMU
	qemuErr       error
	bridges       []doctor.Bridge
	bridgesErr    error
	clock         doctor.Clock
	clockErr      error
	free, memory  int64
	freeErr, busy error
}

var errMissing = errors.New("not supported here")

func healthy() *fake {
	return &fake{qemu: doctor.QEMU{Version: "9.2.0", Accel: "kvm"}, bridges: []doctor.Bridge{{Name: "br0", Up: true, Taps: 2, Others: 1}},
		clock: doctor.Clock{Source: "tsc", PPM: 12}, free: 64 << 30, memory: 32 << 30}
}

func (f *fake) UID() int                      { return f.uid }
func (f *fake) Kernel() (string, error)       { return "6.12.1", f.kernel }
func (f *fake) TryRingBuffer() error          { return f.ring }
func (f *fake) NotSupported(err error) bool   { return errors.Is(err, errMissing) }
func (f *fake) TryUserfaultfd() error         { return f.uffd }
func (f *fake) UnprivilegedUserfaultfd() bool { return !f.rootOnly }
func (f *fake) TryGate(clsact bool) error {
	if clsact {
		return f.clsact
	}
	return f.tcx
}
func (f *fake) TryQEMU(context.Context) (doctor.QEMU, error) { return f.qemu, f.qemuErr }
func (f *fake) Bridges() ([]doctor.Bridge, error)            { return f.bridges, f.bridgesErr }
func (f *fake) Clock() (doctor.Clock, error)                 { return f.clock, f.clockErr }
func (f *fake) Free(string) (int64, int64, error)            { return f.free, f.memory, f.freeErr }
func (f *fake) Pressure() error                              { return f.busy }

func TestHealthy(t *testing.T) {
	for _, f := range doctor.Examine(t.Context(), healthy(), doctor.Options{Data: "/var/lib/snapline/agent", Gentle: true}) {
		if f.State != snapline.FindingOK || f.Hint != "" || f.Text == "" {
			t.Errorf("a healthy host: %+v", f)
		}
	}
}

// TestFindings spoils one thing at a time: just that check is not content, and
// it says what to do.
func TestFindings(t *testing.T) {
	const bad, poor, good = snapline.FindingProblem, snapline.FindingWarning, snapline.FindingOK
	for name, c := range map[string]struct {
		spoil      func(*fake)
		check      string
		state      snapline.FindingState
		text, hint string
	}{
		"user":             {func(f *fake) { f.uid = 1000 }, "user", bad, "not root", "sudo"},
		"kernel":           {func(f *fake) { f.kernel = os.ErrNotExist }, "kernel", bad, "release", ""},
		"old ring":         {func(f *fake) { f.ring = errMissing }, "ring-buffer", bad, "no eBPF ring buffers", "5.8"},
		"forbidden ring":   {func(f *fake) { f.ring = os.ErrPermission }, "ring-buffer", bad, "permission", "CAP_BPF"},
		"no clsact":        {func(f *fake) { f.clsact = errMissing }, "gate", good, "not by clsact", ""},
		"older kernel":     {func(f *fake) { f.tcx = errMissing }, "gate", good, "by clsact", ""},
		"no gate":          {func(f *fake) { f.tcx, f.clsact = errMissing, syscall.ENOENT }, "gate", bad, "no such file", "sch_ingress"},
		"forbidden gate":   {func(f *fake) { f.tcx = os.ErrPermission }, "gate", bad, "permission", "CAP_BPF"},
		"no userfaultfd":   {func(f *fake) { f.uffd = syscall.ENOSYS }, "userfaultfd", poor, "cannot be write-protected", "5.7"},
		"root's only":      {func(f *fake) { f.rootOnly = true }, "userfaultfd", poor, "of root", "sysctl"},
		"no QEMU":          {func(f *fake) { f.qemuErr = os.ErrNotExist }, "qemu", poor, "no QEMU", "apt install"},
		"old QEMU":         {func(f *fake) { f.qemu.Background = errMissing }, "qemu", poor, "stopped and copied", "6.0"},
		"no ptrace":        {func(f *fake) { f.qemu.Thaw = os.ErrPermission }, "qemu", poor, "could not be undone", "CAP_SYS_PTRACE"},
		"no KVM":           {func(f *fake) { f.qemu.Accel = "tcg" }, "qemu", poor, "emulation", "kvm_intel"},
		"odd KVM":          {func(f *fake) { f.qemu.AccelErr = errMissing }, "qemu", poor, "cannot be tried", ""},
		"no bridge":        {func(f *fake) { f.bridges = nil }, "bridges", poor, "no Linux bridge", "ip link add"},
		"bridge down":      {func(f *fake) { f.bridges[0].Up = false }, "bridges", poor, "br0 is down", "ip link set br0 up"},
		"bridge alone":     {func(f *fake) { f.bridges[0].Others = 0 }, "bridges", poor, "leads out", "master br0"},
		"bridges unknown":  {func(f *fake) { f.bridgesErr = os.ErrPermission }, "bridges", bad, "permission", ""},
		"clock too fast":   {func(f *fake) { f.clock.PPM = 20000 }, "clock", bad, "+2.00 %", "chronyc"},
		"clock too slow":   {func(f *fake) { f.clock.PPM = -6000 }, "clock", bad, "-0.60 %", "chronyc"},
		"poor clock":       {func(f *fake) { f.clock.Source = "jiffies" }, "clock", poor, "jiffies", "dmesg"},
		"unknown clock":    {func(f *fake) { f.clockErr = os.ErrPermission }, "clock", bad, "permission", ""},
		"no space":         {func(f *fake) { f.free = 10 << 20 }, "space", bad, "10 MiB", "--data"},
		"little space":     {func(f *fake) { f.free = 1 << 30 }, "space", poor, "1024 MiB", "--data"},
		"no data folder":   {func(f *fake) { f.freeErr = os.ErrNotExist }, "space", bad, "/data", ""},
		"no pressure file": {func(f *fake) { f.busy = os.ErrNotExist }, "pressure", poor, "busy", "psi=1"},
	} {
		t.Run(name, func(t *testing.T) {
			host := healthy()
			c.spoil(host)
			var hit bool
			for _, f := range doctor.Examine(t.Context(), host, doctor.Options{Data: "/data", Gentle: true}) {
				if f.Check != c.check && f.State != good {
					t.Errorf("another check minds: %+v", f)
				}
				if f.Check == c.check && f.State == c.state && strings.Contains(f.Text, c.text) && strings.Contains(f.Hint, c.hint) {
					hit = true
				}
			}
			if !hit {
				t.Errorf("no %s of %s says %q and advises %q: %+v", c.state, c.check, c.text, c.hint, doctor.Examine(t.Context(), host, doctor.Options{Data: "/data", Gentle: true}))
			}
		})
	}
}

// TestNotGentle: who does not store gently is not bothered about pressure.
func TestNotGentle(t *testing.T) {
	host := healthy()
	host.busy = os.ErrNotExist
	for _, f := range doctor.Examine(t.Context(), host, doctor.Options{}) {
		if f.State != snapline.FindingOK {
			t.Errorf("%+v", f)
		}
	}
}
