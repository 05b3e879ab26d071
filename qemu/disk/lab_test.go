package disk_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/snapline/snapline/qemu/disk"
	"github.com/snapline/snapline/qemu/qmp"
	"go.uber.org/goleak"
)

// TestMain also runs the victims of crash tests in this same program.
func TestMain(m *testing.M) {
	victims := map[string]func([]string) error{"victim": victim, "restorer": restorer}
	if len(os.Args) > 1 && victims[os.Args[1]] != nil {
		if err := victims[os.Args[1]](os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// attachment is one way to give a VM a disk.
type attachment struct {
	format string // of the file
	args   []string
}

// attach says how the n-th disk is attached; %s is the file.
func attach(kind string, n int) attachment {
	id, node := fmt.Sprintf("disk%d", n), fmt.Sprintf("node%d", n)
	file := fmt.Sprintf("driver=file,filename=%%s,node-name=%s-file,cache.no-flush=on", node)
	switch kind {
	case "virtio-drive-qcow2":
		return attachment{"qcow2", []string{
			"-drive", "if=none,format=qcow2,cache=unsafe,id=" + id + ",file=%s",
			"-device", fmt.Sprintf("virtio-blk-pci,drive=%s,write-cache=off,bootindex=%d", id, n)}}
	case "virtio-blockdev-raw":
		return attachment{"raw", []string{
			"-blockdev", file,
			"-blockdev", fmt.Sprintf("driver=raw,file=%s-file,node-name=%s,cache.no-flush=on", node, node),
			"-device", fmt.Sprintf("virtio-blk-pci,id=%s,drive=%s,write-cache=off,bootindex=%d", id, node, n)}}
	case "scsi-blockdev-qcow2":
		return attachment{"qcow2", []string{
			"-device", fmt.Sprintf("virtio-scsi-pci,id=scsi%d", n),
			"-blockdev", file,
			"-blockdev", fmt.Sprintf("driver=qcow2,file=%s-file,node-name=%s,cache.no-flush=on", node, node),
			"-device", fmt.Sprintf("scsi-hd,bus=scsi%d.0,drive=%s,write-cache=off,bootindex=%d", n, node, n)}}
	case "sata-drive-raw":
		return attachment{"raw", []string{
			"-drive", "if=none,format=raw,cache=unsafe,id=" + id + ",file=%s",
			"-device", fmt.Sprintf("ide-hd,drive=%s,write-cache=off,bootindex=%d", id, n)}}
	}
	panic(kind)
}

// machine is a QEMU with the writing guest on its first disk.
type machine struct {
	dir, qmp, output string
	disks            []string
	formats          []string
	args             []string
	cmd              *exec.Cmd
}

func newMachine(t testing.TB, memory int, kinds ...string) *machine {
	t.Helper()
	needTools(t)
	m := &machine{dir: t.TempDir()}
	m.qmp, m.output = filepath.Join(m.dir, "qmp"), filepath.Join(m.dir, "out")
	m.args = []string{
		"-machine", "q35", "-accel", "tcg", "-m", fmt.Sprint(max(memory, 64)), "-nodefaults", "-display", "none",
		"-chardev", "file,id=out,path=" + m.output, "-device", "isa-debugcon,iobase=0xe9,chardev=out",
		"-qmp", "unix:" + m.qmp + ",server=on,wait=off",
	}
	for i, kind := range kinds {
		a := attach(kind, i)
		path := filepath.Join(m.dir, fmt.Sprintf("d%d.%s", i, a.format))
		m.makeDisk(t, path, a.format, i == 0, len(kinds), memory)
		m.disks, m.formats = append(m.disks, path), append(m.formats, a.format)
		for _, arg := range a.args {
			m.args = append(m.args, strings.ReplaceAll(arg, "%s", path))
		}
	}
	return m
}

func (m *machine) makeDisk(t testing.TB, path, format string, boot bool, disks, memory int) {
	t.Helper()
	raw := filepath.Join(m.dir, "raw")
	content := []byte(nil)
	if boot {
		content = bootSector(disks, memory)
	}
	if err := errors.Join(os.WriteFile(raw, content, 0o644), os.Truncate(raw, diskSize)); err != nil {
		t.Fatal(err)
	}
	run(t, "qemu-img", "convert", "-q", "-f", "raw", "-O", format, raw, path)
	os.Remove(raw)
}

func needTools(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("VM tests need root: run them with sudo")
	}
	for _, program := range []string{"qemu-system-x86_64", "qemu-img", "qemu-io"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("%s is missing: make deps", program)
		}
	}
}

func run(t testing.TB, args ...string) string {
	t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// start runs it until the test's end, and returns when the guest writes.
func (m *machine) start(t testing.TB) {
	t.Helper()
	os.Remove(m.output)
	os.Remove(m.qmp)
	m.cmd = exec.Command("qemu-system-x86_64", m.args...)
	var log strings.Builder
	m.cmd.Stdout, m.cmd.Stderr = &log, &log
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		m.kill()
		if t.Failed() && log.Len() > 0 {
			t.Logf("QEMU printed: %s", log.String())
		}
	})
	m.awaitRecords(t, 20)
}

func (m *machine) kill() {
	m.cmd.Process.Kill()
	m.cmd.Wait()
}

// awaitRecords waits until so many more are acknowledged.
func (m *machine) awaitRecords(t testing.TB, more uint32) uint32 {
	t.Helper()
	from := acknowledged(t, m.output)
	var last uint32
	eventually(t, "more records", func() bool {
		last = acknowledged(t, m.output)
		return last >= from+more
	})
	return last
}

// connect takes hold of the monitor until the test's end, or close.
func (m *machine) connect(t testing.TB) disk.Machine {
	t.Helper()
	c, err := qmp.Dial(testContext(t), m.qmp)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return described(c, m.cmd.Process.Pid)
}

// described is a VM that is held by stopping it.
func described(c *qmp.Client, pid int) disk.Machine {
	return disk.Machine{Name: "vm", Client: c, PID: pid, Hold: func(ctx context.Context) (func(), error) {
		_, err := qmp.Run(ctx, c, qmp.Stop{})
		return func() { qmp.Run(context.WithoutCancel(ctx), c, qmp.Cont{}) }, err
	}}
}

// content is what a chain reads as.
func content(t testing.TB, path, format string) []byte {
	t.Helper()
	raw := filepath.Join(t.TempDir(), "raw")
	run(t, "qemu-img", "convert", "-q", "-U", "-f", format, "-O", "raw", path, raw)
	b, err := os.ReadFile(raw)
	if err != nil {
		t.Fatal(err)
	}
	os.Remove(raw)
	return b
}

// checkClean wants no overlay and no journal, and sound files.
func (m *machine) checkClean(t testing.TB, journals string) {
	t.Helper()
	for i, path := range m.disks {
		if left, _ := filepath.Glob(path + ".snapline-*"); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
		if m.formats[i] == "qcow2" && m.cmd.ProcessState != nil { // no check holds for a file in use
			run(t, "qemu-img", "check", "-q", "-U", path)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(journals, "*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// checkDisks wants all that the guest was told to be written.
func (m *machine) checkDisks(t testing.TB, last uint32) {
	t.Helper()
	for i, path := range m.disks {
		checkRecords(t, path, content(t, path, m.formats[i]), last)
	}
}

func store(t testing.TB, dir string) *disk.Store {
	t.Helper()
	s, err := disk.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func discover(t testing.TB, m disk.Machine) []disk.Disk {
	t.Helper()
	disks, reasons, err := disk.Discover(testContext(t), m)
	if err != nil || len(reasons) > 0 {
		t.Fatal(reasons, err)
	}
	return disks
}

// freeze is Prepare and Switch as a capture does them.
func freeze(ctx context.Context, s *disk.Store, m disk.Machine) (*disk.Set, error) {
	disks, reasons, err := disk.Discover(ctx, m)
	if err != nil || len(reasons) > 0 {
		return nil, fmt.Errorf("%v %w", reasons, err)
	}
	set, err := s.Prepare(ctx, m, "g-1", disks)
	if err != nil {
		return nil, err
	}
	if _, err := qmp.Run(ctx, m.Client, qmp.Stop{}); err != nil {
		return nil, err
	}
	err = set.Switch(ctx)
	if _, contErr := qmp.Run(ctx, m.Client, qmp.Cont{}); contErr != nil {
		return nil, contErr
	}
	if err != nil {
		return nil, err
	}
	return set, set.Settle()
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// eventually polls until ok.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("%s: not within 30 s", what)
		}
	}
}

// startServer serves a file over NBD until the test's end.
func startServer(t testing.TB, socket, path string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("qemu-storage-daemon",
		"--blockdev", "driver=file,node-name=f,filename="+path,
		"--nbd-server", "addr.type=unix,addr.path="+socket,
		"--export", "type=nbd,id=e,node-name=f,name=,writable=on")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	eventually(t, "NBD socket", func() bool { _, err := os.Stat(socket); return err == nil })
	return cmd
}
