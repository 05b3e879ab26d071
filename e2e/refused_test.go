package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/qemu/qmp"
)

// odd is a member that cannot be snapshotted, and a word of the reason why.
type odd struct {
	name, host, monitor string
	reason              string
}

// refused: what forbids a snapshot is said of all members at once, and nothing
// is touched. Here every member has something of its own.
func (f *faults) refused(t *testing.T) {
	t.Run("all reasons", func(t *testing.T) {
		usernet := f.startOdd(t, "usernet", "-nic", "user,model=virtio-net-pci")
		disk := f.startOdd(t, "disk", "-nic", "none", "-drive", "if=none,id=d,format=qcow2,file="+writableDisk(t), "-device", "virtio-blk-pci,drive=d,share-rw=on")
		paused := f.startOdd(t, "paused", "-nic", "none")
		execute(t, paused, qmp.Stop{})
		elsewhere, err := f.VM("n1")
		if err != nil {
			t.Fatal(err)
		}
		all := []odd{
			{"usernet", "h1", usernet, "user"},
			{"disk", "h1", disk, "share-rw=on"},
			{"paused", "h1", paused, "not running but paused"},
			{"dead", "h1", deadSocket(t), "is dead"},
			{"missing", "h1", filepath.Join(t.TempDir(), "qmp"), "does not exist"},
			{"elsewhere", "h2", elsewhere.QMP, "another network namespace"},
			{"orphan", "h3", filepath.Join(t.TempDir(), "qmp"), "agent"},
			{"nowhere", "h9", filepath.Join(t.TempDir(), "qmp"), "agent"},
		}
		f.mustRun(t, nil, "apply", "-f", oddGroup(t, all))
		f.kill(t, "h3")
		before := f.listed(t)

		o := f.run(t, "take", "odd", "--json")
		o.expect(t, exitRefused)
		problem := o.problem(t)
		t.Log(strings.ReplaceAll(problem.Error(), "; ", "\n"))
		for _, m := range all {
			if !slices.ContainsFunc(problem.Reasons, m.isBlamed) {
				t.Errorf("no reason names %s on %s and says %q", m.name, m.host, m.reason)
			}
		}
		if err := f.ungated(f.hostNames()...); err != nil {
			t.Error(err)
		}
		for monitor, want := range map[string]string{usernet: "running", disk: "running", paused: "paused", elsewhere.QMP: "running"} {
			if st, err := status(t.Context(), monitor); err != nil || st.Status != want {
				t.Errorf("vm at %s is %q, want %q: %v", monitor, st.Status, want, err)
			}
		}
		if now := f.listed(t); !slices.Equal(now, before) {
			t.Errorf("snapshots: %v, before %v", now, before)
		}
		f.restartAgent(t, "h3")
	})
}

func (m odd) isBlamed(r snapline.Reason) bool {
	return string(r.Member) == m.name && string(r.Host) == m.host && strings.Contains(r.Text, m.reason)
}

// startOdd starts a VM that shows its firmware's screen to nobody, on h1, and
// returns its monitor.
func (f *faults) startOdd(t *testing.T, name string, options ...string) (monitor string) {
	t.Helper()
	monitor = filepath.Join(t.TempDir(), name+".qmp")
	cmd := exec.Command("qemu-system-x86_64", append(options, "-m", "64", "-display", "none", "-qmp", "unix:"+monitor+",server=on,wait=off")...)
	cmd.Stderr = os.Stderr
	if err := f.Place("h1").Start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	awaitRunning(t, 10*time.Second, monitor)
	return monitor
}

// execute gives one order to a monitor.
func execute(t *testing.T, monitor string, order qmp.Command[qmp.Nothing]) {
	t.Helper()
	c, err := qmp.Dial(t.Context(), monitor)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := qmp.Run(t.Context(), c, order); err != nil {
		t.Fatal(err)
	}
}

func writableDisk(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk.qcow2")
	if out, err := exec.Command("qemu-img", "create", "-f", "qcow2", path, "16M").CombinedOutput(); err != nil {
		t.Fatalf("qemu-img: %v: %s", err, out)
	}
	return path
}

// deadSocket is what a QEMU leaves that was killed.
func deadSocket(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "qmp")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func oddGroup(t *testing.T, all []odd) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("group: odd\nmembers:\n")
	for _, m := range all {
		fmt.Fprintf(&b, "  - { name: %s, host: %s, qemu: { qmp: %s } }\n", m.name, m.host, m.monitor)
	}
	return writeFile(t, "odd.yaml", b.String())
}

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// groupFile: mistakes in a group file are found with their lines.
func (f *faults) groupFile(t *testing.T) {
	path := writeFile(t, "shop.yaml", `group: shop
members:
  - name: n1
    host: h1
    qmp: /run/n1.qmp
  - name: n1
    host: h2
    qemu: { qmp: /run/n2.qmp }
`)
	o := f.run(t, "apply", "-f", path, "--json")
	o.expect(t, exitInvalid)
	problem := o.problem(t)
	t.Log(problem.Error())
	for _, want := range []string{path + ":5: ", path + ":6: "} {
		if !strings.Contains(problem.Error(), want) {
			t.Errorf("no problem at %s", want)
		}
	}
	if o := f.run(t, "status", "shop"); o.status == exitOK {
		t.Error("the group was declared all the same")
	}
}
