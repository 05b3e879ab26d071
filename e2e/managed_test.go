package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/lab/bank"
	"github.com/snapline/snapline/lab/topology"
)

// managed is a host whose systemd runs Snapline's services, and two machines, m1
// and m2, that move money between them.
type managed struct {
	*container
	bank []*bank.Client
}

// The services, in the order in which they need each other.
const (
	coordinatorService = "snapline-coordinator"
	agentService       = "snapline-agent"
)

var services = []string{coordinatorService, agentService}

// property is what systemd says of a service.
func (m *managed) property(t *testing.T, service, name string) string {
	t.Helper()
	return m.do(t, "systemctl show --value -p "+name+" "+service)
}

// online waits until both services are ready, and know each other.
func (m *managed) online(t *testing.T) {
	t.Helper()
	await(t, time.Minute, "both services are active, and the agent online", func(context.Context) error {
		for _, s := range services {
			if got := m.property(t, s, "ActiveState"); got != "active" {
				return fmt.Errorf("%s is %s", s, got)
			}
		}
		o := m.try(t, "snapline hosts --json")
		var hosts []snapline.HostStatus
		if err := json.Unmarshal([]byte(o.stdout), &hosts); err != nil || len(hosts) != 1 || hosts[0].Agent != "online" {
			return fmt.Errorf("%v: %s%s", err, o.stdout, o.stderr)
		}
		return nil
	})
}

// mains are the services' main processes.
func (m *managed) mains(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, s := range services {
		all[s] = m.property(t, s, "MainPID")
	}
	return all
}

// again waits until systemd has started both services anew, without being asked.
func (m *managed) again(t *testing.T, before map[string]string) {
	t.Helper()
	await(t, time.Minute, "both are started again", func(context.Context) error {
		for s, now := range m.mains(t) {
			if now == before[s] || now == "0" {
				return fmt.Errorf("%s is %s, %s, process %s", s, m.property(t, s, "ActiveState"), m.property(t, s, "Result"), now)
			}
		}
		return nil
	})
}

// through does something that ends the services' processes and brings others, and
// that the machines have to live through, as processes of the unit that they were of.
func (m *managed) through(t *testing.T, do func()) {
	t.Helper()
	machines, mains := m.machines(t), m.mains(t)
	do()
	m.again(t, mains)
	m.online(t)
	m.untouched(t, machines)
}

// machine is a virtual machine's process, and the unit in whose cgroup it is.
type machine struct {
	pid  int
	unit string
}

// machines finds the machines' processes from outside, whoever started them.
func (m *managed) machines(t *testing.T) map[string]machine {
	t.Helper()
	all, err := topology.Processes(m.Name)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]machine{}
	for _, p := range all {
		for _, name := range []string{"m1", "m2"} {
			if !strings.HasPrefix(filepath.Base(p.Args[0]), "qemu-system-") || !strings.Contains(p.String(), "unix:/srv/vms/"+name+".qmp") {
				continue
			}
			if before, twice := found[name]; twice {
				t.Fatalf("%s runs twice: processes %d and %d", name, before.pid, p.PID)
			}
			found[name] = machine{p.PID, unitOf(t, p.PID)}
		}
	}
	return found
}

// unitOf is the last part of a process's cgroup (version 2), which systemd names after the unit.
func unitOf(t *testing.T, pid int) string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if path, ok := strings.CutPrefix(line, "0::"); ok {
			return filepath.Base(strings.TrimSpace(path))
		}
	}
	return ""
}

// untouched fails the test unless the machines are the processes that they were,
// of the same units, and go on.
func (m *managed) untouched(t *testing.T, before map[string]machine) {
	t.Helper()
	if now := m.machines(t); len(now) != 2 || !maps.Equal(now, before) {
		t.Errorf("machines: %v, before %v", now, before)
	}
	awaitMoney(t, time.Minute, m.bank, "tcp", 3)
}

// take takes a snapshot of the group and returns its id.
func (m *managed) take(t *testing.T) snapline.SnapshotID {
	t.Helper()
	var r snapline.TakeResult
	m.answer(t, "snapline take shop --json", &r)
	t.Logf("%s: %.0f ms", r.ID, r.DurationMS)
	return r.ID
}

// restore brings the group back, as other processes, which are the agent's
// service's, and goes on.
func (m *managed) restore(t *testing.T, id snapline.SnapshotID) {
	t.Helper()
	before := m.machines(t)
	var r snapline.RestoreResult
	m.answer(t, "snapline restore "+string(id)+" --json", &r)
	t.Logf("%s restored in %.0f ms", r.ID, r.DurationMS)
	now := m.machines(t)
	for _, name := range []string{"m1", "m2"} {
		if now[name].pid == before[name].pid || now[name].unit != agentService+".service" {
			t.Errorf("%s after a restore: %v, before %v", name, now[name], before[name])
		}
	}
	awaitMoney(t, time.Minute, m.bank, "tcp", 3)
	audit(t, m.bank)
}

// answer reads what a command prints with --json.
func (m *managed) answer(t *testing.T, line string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(m.do(t, line)), into); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
}

// overlays are the files beside the disk of m1.
func (m *managed) overlays(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob(m.path("/srv/vms/m1.img.snapline-*"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// awaitOverlay waits until the disk of m1 has an overlay.
func (m *managed) awaitOverlay(t *testing.T) {
	t.Helper()
	await(t, roundLimit, "an overlay on the disk of m1", func(context.Context) error {
		if len(m.overlays(t)) == 0 {
			return errors.New("there is none")
		}
		return nil
	})
}

// showJournal prints what the services and systemd said of them, without the
// goroutines of those that hung, when the test has failed.
func (m *managed) showJournal(t *testing.T) {
	if t.Failed() && m.init() != 0 {
		t.Log(m.try(t, "journalctl --no-pager -o short-precise -u 'snapline-*' | grep -E ' systemd\\[| (time=|error:|hint:)' | tail -n 150").stdout)
	}
}
