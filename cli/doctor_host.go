package cli

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/snapline/snapline/bpf"
	"github.com/snapline/snapline/doctor"
	"github.com/snapline/snapline/qemu"
)

// thisHost is the machine that the program runs on, with its real adapters.
type thisHost struct{ program string } // QEMU's

var _ doctor.System = thisHost{}

func (thisHost) UID() int                  { return os.Geteuid() }
func (thisHost) TryRingBuffer() error      { return bpf.TryRingBuffer() }
func (thisHost) NotSupported(e error) bool { return bpf.NotSupported(e) }
func (thisHost) TryUserfaultfd() error     { return qemu.TryUserfaultfd() }

func (thisHost) Kernel() (string, error) { return line("/proc/sys/kernel/osrelease") }

func (thisHost) TryGate(clsact bool) error {
	if clsact {
		return bpf.Try(bpf.Clsact)
	}
	return bpf.Try(bpf.TCX)
}

func (thisHost) UnprivilegedUserfaultfd() bool {
	v, err := line("/proc/sys/vm/unprivileged_userfaultfd")
	return err == nil && v == "1" || os.IsNotExist(err) // before Linux 5.2 there was no such limit
}

func (h thisHost) TryQEMU(ctx context.Context) (doctor.QEMU, error) {
	a, err := qemu.Try(ctx, h.program)
	return doctor.QEMU(a), err
}

func (thisHost) Bridges() ([]doctor.Bridge, error) {
	all, err := qemu.Bridges()
	var out []doctor.Bridge
	for _, b := range all {
		out = append(out, doctor.Bridge(b))
	}
	return out, err
}

// Clock: adjtimex(2) has the length of a tick in µs, of which there are 100 in a
// second, and a frequency in ppm with 16 bits after the point.
func (thisHost) Clock() (doctor.Clock, error) {
	var t unix.Timex
	if _, err := unix.Adjtimex(&t); err != nil {
		return doctor.Clock{}, err
	}
	source, err := line("/sys/devices/system/clocksource/clocksource0/current_clocksource")
	return doctor.Clock{Source: source, PPM: float64(t.Tick-10000)*100 + float64(t.Freq)/65536}, err
}

func (thisHost) Free(path string) (free, memory int64, err error) {
	path, err = filepath.Abs(path)
	if err != nil {
		return 0, 0, err
	}
	var fs unix.Statfs_t
	for err = unix.Statfs(path, &fs); err == unix.ENOENT && path != "/"; err = unix.Statfs(path, &fs) {
		path = filepath.Dir(path)
	}
	var host unix.Sysinfo_t
	if err == nil {
		err = unix.Sysinfo(&host)
	}
	return int64(fs.Bavail) * fs.Bsize, int64(host.Totalram) * int64(host.Unit), err
}

func (thisHost) Pressure() error {
	_, err := os.ReadFile("/proc/pressure/cpu") // opening it is not enough where it is switched off
	return err
}

// line reads a file of one line.
func line(path string) (string, error) {
	b, err := os.ReadFile(path)
	return strings.TrimSpace(string(b)), err
}
