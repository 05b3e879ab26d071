package e2e

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/lab/bank"
	"github.com/snapline/snapline/lab/image"
	"github.com/snapline/snapline/lab/topology"
)

// deb is where make package leaves the package.
const deb = "../out/snapline.deb"

// TestSystemd installs the package on a host with systemd, as docs/OPERATIONS.md
// tells an operator, and has what may befall services befall these: dpkg, systemd,
// its sandboxes, watchdog, restarts and cgroups are the real ones.
func TestSystemd(t *testing.T) {
	if testing.Short() {
		t.Skip("boots virtual machines")
	}
	if _, err := os.Stat(deb); err != nil {
		t.Skipf("%v: run make package, which needs the Go module proxy at its first time", err)
	}
	prerequisites(t)
	m := &managed{container: newContainer(t)}
	t.Cleanup(func() { m.showJournal(t) })
	for _, step := range []struct {
		name string
		do   func(*testing.T)
	}{
		{"installed", m.installed},
		{"configured", m.configured},
		{"restored", m.restored},
		{"restarted", m.restarted},
		{"hung", m.hung},
		{"killed", m.killed},
		{"misconfigured", m.misconfigured},
		{"upgraded", m.upgraded},
		{"rebooted", m.rebooted},
		{"purged", m.purged},
	} {
		if !t.Run(step.name, step.do) {
			return // what comes next stands on it
		}
	}
}

// installed: nothing is started.
func (m *managed) installed(t *testing.T) {
	m.copyIn(t, deb, "/srv/snapline.deb")
	m.do(t, "dpkg -i /srv/snapline.deb")
	for _, s := range services {
		if got := m.property(t, s, "ActiveState") + " " + m.property(t, s, "UnitFileState"); got != "inactive disabled" {
			t.Errorf("%s after the installation: %s", s, got)
		}
	}
	for path, mode := range map[string]os.FileMode{"/etc/default/snapline-agent": 0o600, "/etc/default/snapline-coordinator": 0o600,
		"/etc/snapline": 0o700, "/usr/bin/snapline": 0o755} {
		if st, err := os.Stat(m.path(path)); err != nil || st.Mode().Perm() != mode {
			t.Errorf("%s: %v %v, want mode %v", path, st, err, mode)
		}
	}
	files := m.do(t, "dpkg -L snapline") // some machines are told to leave manuals out
	for _, path := range []string{"/usr/share/man/man1/snapline-doctor.1.gz", "/usr/share/bash-completion/completions/snapline", "/usr/share/doc/snapline/examples/group.yaml"} {
		if !strings.Contains(files+"\n", path+"\n") {
			t.Errorf("the package has no %s", path)
		}
	}
}

// typedSettings is what an operator types.
const typedSettings = `
snapline repo init --repo /srv/snapline --key-file /etc/snapline/key
snapline init --data /var/lib/snapline/coordinator
sed -i 's|^REPO=.*|REPO=/srv/snapline|; s|^LISTEN=.*|LISTEN=10.77.0.1:4222|' /etc/default/snapline-coordinator
systemctl enable --now snapline-coordinator
umask 077
snapline token create --host h1 >/etc/snapline/token
sed -i 's|^JOIN=.*|JOIN=10.77.0.1:4222|' /etc/default/snapline-agent
snapline doctor --local
systemctl enable --now snapline-agent
`

// configured: the services start when they are told to, and the host joins by its
// token. It is found fit from outside the agent's unit, and from inside.
func (m *managed) configured(t *testing.T) {
	t.Log(m.do(t, typedSettings))
	m.online(t)
	t.Log(m.do(t, "snapline doctor"))
	for _, s := range services {
		if got := m.property(t, s, "WatchdogUSec") + " " + m.property(t, s, "NRestarts"); got != "30s 0" {
			t.Errorf("watchdog and restarts of %s: %s", s, got)
		}
	}
}

// typedMachines starts two machines, one with a disk. They are services of their
// own, as those of somebody who has systemd may be.
const typedMachines = `
mkdir /srv/vms
truncate -s 64M /srv/vms/m1.img
mkfs.ext4 -q -m 0 /srv/vms/m1.img
start() {
	ip tuntap add dev tap-$1 mode tap
	ip link set tap-$1 master br0 up
	systemd-run -q --unit=$1 qemu-system-x86_64 -name $1 -m 128 -display none -nodefaults \
		-kernel /srv/kernel -initrd /srv/initrd -append "$2" -serial file:/srv/vms/$1.console \
		-netdev tap,id=lan,ifname=tap-$1,script=no,downscript=no \
		-device virtio-net-pci,netdev=lan,romfile=,mac=52:54:00:00:00:0${1#m} \
		-qmp unix:/srv/vms/$1.qmp,server=on,wait=off $3
}
start m1 "$M1" "-drive if=virtio,format=raw,file=/srv/vms/m1.img"
start m2 "$M2" ""
cat >/srv/group.yaml <<end
group: shop
members:
  - { name: m1, host: h1, qemu: { qmp: /srv/vms/m1.qmp } }
  - { name: m2, host: h1, qemu: { qmp: /srv/vms/m2.qmp } }
end
snapline apply -f /srv/group.yaml
`

// restored: machines of other units are snapshotted; once they have been brought
// back, they are processes of the agent's.
func (m *managed) restored(t *testing.T) {
	img, err := image.Build(t.Context(), image.Options{Program: guestProgram()})
	if err != nil {
		t.Fatal(err)
	}
	m.copyIn(t, img.Kernel, "/srv/kernel")
	m.copyIn(t, img.Initrd, "/srv/initrd")
	peers := []image.Peer{{Name: "m1", Address: topology.VMAddress(1)}, {Name: "m2", Address: topology.VMAddress(2)}}
	var lines strings.Builder
	for i, p := range peers {
		g := image.Guest{Role: image.Bank, Name: p.Name, Peers: peers, Address: fmt.Sprintf("%s/%d", p.Address, topology.PrefixLen)}
		fmt.Fprintf(&lines, "M%d='%s'\n", i+1, g.Append())
		m.bank = append(m.bank, bank.NewClient(net.JoinHostPort(p.Address, bank.ControlPort), m.host.DialContext))
	}
	m.do(t, lines.String()+typedMachines)
	awaitMoney(t, time.Minute, m.bank, "tcp", 3)
	if got := m.machines(t); got["m1"].unit != "m1.service" || got["m2"].unit != "m2.service" {
		t.Errorf("machines: %v", got)
	}
	t.Log(m.do(t, "snapline doctor --group shop"))
	m.restore(t, m.take(t))
}

// restarted: with settings by which the coordinator serves root by a socket as well,
// and the agent stores gently, by processes of the installed program.
func (m *managed) restarted(t *testing.T) {
	m.do(t, `sed -i 's|^OPTIONS="|&--gentle --max-cpu 100% --give-way 3s |' /etc/default/snapline-agent
sed -i 's|^OPTIONS="|&--http unix:///run/snapline/api.sock |' /etc/default/snapline-coordinator`)
	m.through(t, func() { m.do(t, "systemctl restart snapline-coordinator snapline-agent") })
	m.do(t, "snapline hosts --server unix:///run/snapline/api.sock")
	m.restore(t, m.take(t))
}

// hung: the watchdog ends processes that do not move, and others begin; the journal
// says where they were.
func (m *managed) hung(t *testing.T) {
	for _, s := range services {
		m.do(t, fmt.Sprintf("mkdir /run/systemd/system/%[1]s.service.d; printf '[Service]\\nWatchdogSec=5\\n' >/run/systemd/system/%[1]s.service.d/soon.conf", s))
	}
	m.do(t, "systemctl daemon-reload; systemctl restart snapline-coordinator snapline-agent")
	m.online(t)
	m.through(t, func() { m.do(t, "systemctl kill --kill-whom=main -s STOP snapline-coordinator snapline-agent") })
	for _, s := range services {
		if !strings.Contains(m.do(t, "journalctl -o cat -u "+s), "goroutine ") {
			t.Errorf("the journal does not say where %s hung", s)
		}
	}
	m.do(t, "rm -r /run/systemd/system/snapline-*.d; systemctl daemon-reload")
}

// killed: others begin.
func (m *managed) killed(t *testing.T) {
	m.through(t, func() { m.do(t, "systemctl kill --kill-whom=main -s KILL snapline-coordinator snapline-agent") })
}

// misconfigured: what cannot work is not tried again, and says what to do.
func (m *managed) misconfigured(t *testing.T) {
	machines := m.machines(t)
	for service, setting := range map[string]string{coordinatorService: "LISTEN", agentService: "JOIN"} {
		file := "/etc/default/" + service
		m.do(t, fmt.Sprintf("cp -p %[1]s /srv/settings; sed -i 's|^%[2]s=.*|%[2]s=|' %[1]s", file, setting))
		if o := m.try(t, "systemctl restart "+service); o.status == exitOK {
			t.Errorf("%s starts without %s", service, setting)
		}
		if got := m.property(t, service, "ActiveState") + " " + m.property(t, service, "ExecMainStatus"); got != fmt.Sprintf("failed %d", exitInvalid) {
			t.Errorf("%s without %s: %s", service, setting, got)
		}
		said := m.try(t, "systemctl status --no-pager "+service).stdout
		if !strings.Contains(said, "--"+strings.ToLower(setting)+" is empty") || !strings.Contains(said, "see "+file) {
			t.Errorf("status of %s without %s: %s", service, setting, said)
		}
		m.do(t, "mv /srv/settings "+file+"; systemctl start "+service)
	}
	m.online(t)
	m.untouched(t, machines)
}

// upgraded: the program of the new package runs, with the settings that were there.
func (m *managed) upgraded(t *testing.T) {
	settings := m.do(t, "cat /etc/default/snapline-*")
	m.through(t, func() { m.do(t, "dpkg -i /srv/snapline.deb") })
	if m.do(t, "cat /etc/default/snapline-*") != settings {
		t.Error("an upgrade has changed the settings")
	}
}

// rebooted: the host goes down in order while a disk has an overlay. Nothing waits for
// a timeout meanwhile; afterwards the services start by themselves, the disk is one
// file again, and a command brings the group back.
func (m *managed) rebooted(t *testing.T) {
	before := m.init()
	m.do(t, "systemd-run -q --setenv=HOME=/root snapline take shop")
	m.awaitOverlay(t)
	// SIGRTMIN+5, systemd(1): what "systemctl reboot" does, which would be a process of
	// this machine's in there, and so one that cannot be ended in order.
	if err := unix.Kill(before, unix.Signal(34+5)); err != nil {
		t.Fatal(err)
	}
	m.awaitBoot(t, before)
	m.online(t)
	if left := m.overlays(t); len(left) > 0 {
		t.Errorf("beside the disk of m1: %v", left)
	}
	if left := m.machines(t); len(left) > 0 {
		t.Errorf("machines after a reboot: %v", left)
	}
	var all []struct{ ID snapline.SnapshotID }
	m.answer(t, "snapline list shop --json", &all)
	if len(all) != 2 {
		t.Fatalf("snapshots: %v, want those that were done", all)
	}
	m.restore(t, all[1].ID)
}

// purged: the services end, the machines do not, and what these, or somebody, may
// need stays.
func (m *managed) purged(t *testing.T) {
	machines := m.machines(t)
	m.do(t, "dpkg -P snapline")
	for _, s := range services {
		if got := m.property(t, s, "ActiveState") + " " + m.property(t, s, "MainPID") + " " + m.property(t, s, "LoadState"); got != "inactive 0 not-found" {
			t.Errorf("%s after purging: %s", s, got)
		}
	}
	m.untouched(t, machines)
	if n := m.do(t, "wc -l </sys/fs/cgroup/system.slice/snapline-agent.service/cgroup.procs"); n != "2" {
		t.Errorf("%s processes are left of the agent's, want the machines", n)
	}
	for _, kept := range []string{"/etc/snapline/key", "/var/lib/snapline/agent/state", "/var/lib/snapline/coordinator/trust"} {
		if _, err := os.Stat(m.path(kept)); err != nil {
			t.Errorf("purging has deleted what somebody may need: %v", err)
		}
	}
	if left := m.do(t, "ls -d /etc/default/snapline-* /etc/systemd/system/*/snapline-* /run/snapline 2>/dev/null || true"); left != "" {
		t.Errorf("purging has left %s", left)
	}
}
