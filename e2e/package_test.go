package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/snapline/snapline/lab"
)

// deb is where make package leaves the package.
const deb = "../out/snapline.deb"

// TestPackage installs the package below a folder of its own and has a lab run
// what it finds there, with the rights that the units give, and a service
// manager that is played here: dpkg and the units' limits are real, systemd is
// not. A restart of an agent's main process is what KillMode=process does; the
// machines that it has restored live through it. The agents that come back store
// gently.
func TestPackage(t *testing.T) {
	if testing.Short() {
		t.Skip("boots virtual machines")
	}
	if _, err := os.Stat(deb); err != nil {
		t.Skipf("%v: run make package, which needs the Go module proxy at its first time", err)
	}
	root := installed(t)
	m := newManager(t, root)
	s := newSite(t, lab.Options{Workload: lab.Idle, Hosts: 2, VMs: 2, MemMB: 192, Snapline: m.program})
	for _, daemon := range []string{"coordinator", "agent", "agent"} {
		m.hears(t, daemon, "READY=1")
	}
	m.hears(t, "coordinator", "WATCHDOG=1")
	m.hears(t, "agent", "WATCHDOG=1")

	s.apply(t)
	s.mustRun(t, nil, "doctor")
	s.mustRun(t, nil, "doctor", "--group", string(s.group))
	first := s.take(t)
	s.restore(t, first.ID, "n1=h2,n2=h1")
	before := s.pids(t)
	for _, h := range s.hostNames() {
		s.stopMain(t, m, h)
		s.restartAgent(t, h, "--gentle", "--max-cpu", "100%", "--give-way", "3s")
	}
	s.untouched(t, before)
	// Stored by workers of the installed program this time, and with other pages
	// than before only where the guests have written since.
	second := s.take(t)
	s.mustRun(t, nil, "verify", string(second.ID), "--deep", "--key-file", s.keyFile(), "--repo", s.repository())
	s.restore(t, second.ID, "")
}

// stopMain ends the main process of an agent as a service manager does that
// wants no other one ended.
func (s *site) stopMain(t *testing.T, m *manager, host string) {
	t.Helper()
	if err := unix.Kill(s.DaemonPID(host), unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	m.hears(t, "agent", "STOPPING=1")
	await(t, 20*time.Second, "the end of the agent", func(context.Context) error {
		if s.DaemonAlive(host) {
			return fmt.Errorf("it runs")
		}
		return nil
	})
}

// installed installs the package, again over itself with a changed setting,
// removes it, and installs it for good. It returns the root.
func installed(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for _, dir := range []string{"info", "updates"} {
		if err := os.MkdirAll(filepath.Join(root, "var/lib/dpkg", dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "var/lib/dpkg/status"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	dpkg := func(args ...string) {
		t.Helper()
		args = append([]string{"--root=" + root, "--force-script-chrootless", "--log=/dev/null"}, args...)
		if out, err := exec.Command("dpkg", args...).CombinedOutput(); err != nil {
			t.Fatalf("dpkg %v: %v\n%s", args, err, out)
		}
	}
	dpkg("-i", deb)
	settings := filepath.Join(root, "etc/default/snapline-agent")
	if err := os.WriteFile(settings, []byte("JOIN=10.0.0.1:4222\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	dpkg("-i", deb)
	if b, err := os.ReadFile(settings); err != nil || string(b) != "JOIN=10.0.0.1:4222\n" {
		t.Errorf("an upgrade has changed the settings: %q, %v", b, err)
	}
	journal := filepath.Join(root, "var/lib/snapline/agent/state")
	if err := os.MkdirAll(journal, 0o700); err != nil {
		t.Fatal(err)
	}
	dpkg("-P", "snapline")
	if _, err := os.Stat(journal); err != nil {
		t.Errorf("purging has deleted what a merge of disks may need: %v", err)
	}
	if _, err := os.Stat(settings); err == nil {
		t.Error("purging has left the settings")
	}
	dpkg("-i", deb)
	for path, mode := range map[string]os.FileMode{"etc/default/snapline-agent": 0o600, "etc/default/snapline-coordinator": 0o600, "usr/bin/snapline": 0o755,
		"usr/lib/systemd/system/snapline-agent.service": 0o644, "usr/share/man/man1/snapline-doctor.1.gz": 0o644,
		"usr/share/bash-completion/completions/snapline": 0o644, "usr/share/doc/snapline/examples/group.yaml": 0o644} {
		if st, err := os.Stat(filepath.Join(root, path)); err != nil || st.Mode().Perm() != mode {
			t.Errorf("%s: %v %v, want mode %v", path, st, err, mode)
		}
	}
	if st, err := os.Stat(filepath.Join(root, "etc/snapline")); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("the folder for keys is not private: %v, %v", st, err)
	}
	return root
}

// manager plays the service manager: a program that starts the installed one
// with the limits of its unit, and the socket that it reports to.
type manager struct {
	program string
	sockets map[string]*net.UnixConn
}

func newManager(t *testing.T, root string) *manager {
	t.Helper()
	m := &manager{program: filepath.Join(root, "snapline"), sockets: map[string]*net.UnixConn{}}
	var script bytes.Buffer
	fmt.Fprintln(&script, "#!/bin/sh\ncase $1 in")
	for _, daemon := range []string{"agent", "coordinator"} {
		path := filepath.Join(t.TempDir(), "notify")
		conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		m.sockets[daemon] = conn
		fmt.Fprintf(&script, "%s) exec env NOTIFY_SOCKET=%s WATCHDOG_USEC=3000000 setpriv --no-new-privs --bounding-set=%s %s/usr/bin/snapline \"$@\";;\n",
			daemon, path, boundingSet(t, filepath.Join(root, "usr/lib/systemd/system/snapline-"+daemon+".service")), root)
	}
	fmt.Fprintf(&script, "esac\nexec %s/usr/bin/snapline \"$@\"\n", root)
	if err := os.WriteFile(m.program, script.Bytes(), 0o755); err != nil {
		t.Fatal(err)
	}
	return m
}

// boundingSet turns a unit's CapabilityBoundingSet into setpriv's.
func boundingSet(t *testing.T, unit string) string {
	t.Helper()
	b, err := os.ReadFile(unit)
	if err != nil {
		t.Fatal(err)
	}
	set := regexp.MustCompile(`(?m)^CapabilityBoundingSet=(~?)(.*)$`).FindSubmatch(b)
	if set == nil {
		t.Fatalf("%s limits no capabilities", unit)
	}
	sign, all := "+", []string{"-all"}
	if string(set[1]) == "~" {
		sign, all = "-", nil
	}
	for _, c := range strings.Fields(string(set[2])) {
		all = append(all, sign+strings.ToLower(strings.TrimPrefix(c, "CAP_")))
	}
	return strings.Join(all, ",")
}

// hears waits until a daemon has said so; what it said before is forgotten.
func (m *manager) hears(t *testing.T, daemon, want string) {
	t.Helper()
	conn := m.sockets[daemon]
	if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	for {
		b := make([]byte, 100)
		n, err := conn.Read(b)
		if err != nil {
			t.Fatalf("the %s does not say %s: %v", daemon, want, err)
		}
		if string(b[:n]) == want {
			return
		}
	}
}
