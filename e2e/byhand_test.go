package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/lab"
	"github.com/snapline/snapline/lab/bank"
	"github.com/snapline/snapline/lab/image"
	"github.com/snapline/snapline/lab/topology"
)

// hand is a site whose virtual machines somebody starts by hand.
type hand struct {
	*site
	dir  string // where that somebody works
	bank []*bank.Client
}

// The commands that somebody types on h1, of which none knows Snapline: two
// machines whose taps come about in the two usual ways. One leaves its MAC
// address to QEMU, one runs as a daemon.
const (
	typeTaps = `
ip tuntap add dev tap0 mode tap && ip link set tap0 master br0 up
ip tuntap add dev tap1 mode tap && ip link set tap1 master br0 up`
	typeM1 = `
qemu-system-x86_64 -m 256 -kernel $KERNEL -initrd $INITRD -append "$APPEND1" -nographic \
	-netdev tap,id=lan,ifname=tap0,script=no,downscript=no -device virtio-net-pci,netdev=lan \
	-qmp unix:m1.qmp,server=on,wait=off </dev/null >m1.log 2>&1 &`
	typeM2 = `
qemu-system-x86_64 -m 256 -kernel $KERNEL -initrd $INITRD -append "$APPEND2" -display none -daemonize \
	-nic tap,ifname=tap1,script=no,downscript=no,model=virtio-net-pci,mac=52:54:00:00:00:02 \
	-qmp unix:m2.qmp,server,nowait`
)

// TestByHand adopts machines that were started by hand, takes a snapshot of
// them, and brings one of them back on a host whose bridge has another name.
func TestByHand(t *testing.T) {
	h := &hand{site: newSite(t, lab.Options{Workload: lab.None, Hosts: 2}), dir: t.TempDir()}
	h.group = "hand"
	h.boot(t)
	h.mustRun(t, nil, "apply", "-f", writeFile(t, "hand.yaml", fmt.Sprintf(`# written by hand
group: hand
members:
  - name: m1
    host: h1
    qemu:
      qmp: %[1]s/m1.qmp
  - name: m2
    host: h1
    qemu: { qmp: %[1]s/m2.qmp }
`, h.dir)))
	awaitMoney(t, time.Minute, h.bank, "tcp", 3)
	first := h.take(t)
	awaitMoney(t, drainLimit, h.bank, "tcp", 3)

	h.renameBridge(t, "h2", "br0", "lan0")
	h.refusesBridge(t, first.ID)
	h.restartWithBridge(t, "h2", "br0=lan0")

	for _, m := range []string{"m1", "m2"} {
		h.killMachine(t, m)
	}
	h.restore(t, first.ID, "m1=h2")
	awaitMoney(t, drainLimit, h.bank, "tcp", 3)
	audit(t, h.bank)
	h.runsOn(t, "m1", "h2", "lan0")
	h.runsOn(t, "m2", "h1", "br0")
	h.tidy(t)

	// What Snapline has started can be adopted like any other, and is brought
	// back over the running group.
	second := h.take(t)
	h.restore(t, second.ID, "")
	awaitMoney(t, drainLimit, h.bank, "tcp", 3)
	audit(t, h.bank)
	h.tidy(t)
}

// boot types the commands.
func (h *hand) boot(t *testing.T) {
	t.Helper()
	img, err := image.Build(t.Context(), image.Options{Program: guestProgram()})
	if err != nil {
		t.Fatal(err)
	}
	peers := []image.Peer{{Name: "m1", Address: topology.VMAddress(1)}, {Name: "m2", Address: topology.VMAddress(2)}}
	env := append(os.Environ(), "KERNEL="+img.Kernel, "INITRD="+img.Initrd)
	for i, p := range peers {
		g := image.Guest{Role: image.Bank, Name: p.Name, Peers: peers, Address: fmt.Sprintf("%s/%d", p.Address, topology.PrefixLen)}
		env = append(env, fmt.Sprintf("APPEND%d=%s", i+1, g.Append()))
		h.bank = append(h.bank, bank.NewClient(net.JoinHostPort(p.Address, bank.ControlPort), h.Switch().DialContext))
	}
	for _, line := range []string{typeTaps, typeM1, typeM2} {
		cmd := exec.Command("sh", "-e", "-c", line)
		cmd.Dir, cmd.Env = h.dir, env
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		if err := h.Place("h1").Start(cmd); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Fatalf("%v:%s", err, line)
		}
	}
}

// renameBridge gives a host's bridge another name.
func (h *hand) renameBridge(t *testing.T, host, from, to string) {
	t.Helper()
	err := h.Place(host).Do(func() error {
		br, err := netlink.LinkByName(from)
		if err != nil {
			return err
		}
		return errors.Join(netlink.LinkSetDown(br), netlink.LinkSetName(br, to), netlink.LinkSetUp(br))
	})
	if err != nil {
		t.Fatal(err)
	}
	h.awaitAgents(t)
}

// refusesBridge checks that a restore says what is missing, and how to go on.
func (h *hand) refusesBridge(t *testing.T, id snapline.SnapshotID) {
	t.Helper()
	o := h.run(t, "restore", string(id), "--place", "m1=h2", "--json")
	o.expect(t, exitRefused)
	problem := o.problem(t)
	t.Log(problem.Error())
	ok := slices.ContainsFunc(problem.Reasons, func(r snapline.Reason) bool {
		return r.Member == "m1" && r.Host == "h2" && strings.Contains(r.Text, "no bridge br0") && strings.Contains(r.Hint, "--bridge br0=")
	})
	if !ok {
		t.Errorf("no reason names the bridge that is missing on h2: %+v", problem.Reasons)
	}
	awaitMoney(t, drainLimit, h.bank, "udp", 2)
}

// restartWithBridge starts a host's agent again, with --bridge.
func (h *hand) restartWithBridge(t *testing.T, host, mapping string) {
	t.Helper()
	if err := h.KillDaemon(t.Context(), host); err != nil {
		t.Fatal(err)
	}
	before := h.incarnation(t, host)
	log, err := os.OpenFile(h.Log(host), os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	_, key := h.Lab.Repository()
	cmd := exec.Command(snaplineProgram(), "agent", "--name", host, "--join", net.JoinHostPort(topology.SwitchAddress, "4222"),
		"--data", filepath.Join(h.Dir, host), "--key-file", key, "--bridge", mapping)
	cmd.Stdout, cmd.Stderr = log, log
	if err := h.Place(host).Start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	await(t, 20*time.Second, "the agent with --bridge", func(context.Context) error {
		if h.incarnation(t, host) == before {
			return errors.New("it has not said hello")
		}
		return nil
	})
}

// machine is the one process of a machine.
func (h *hand) machine(t *testing.T, name string) topology.Process {
	t.Helper()
	all, err := topology.Processes(h.Name)
	if err != nil {
		t.Fatal(err)
	}
	var found []topology.Process
	for _, p := range all {
		if strings.HasPrefix(filepath.Base(p.Args[0]), "qemu-system-") && strings.Contains(p.String(), name+".qmp") {
			found = append(found, p)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d processes are %s: %v", len(found), name, found)
	}
	return found[0]
}

func (h *hand) killMachine(t *testing.T, name string) {
	t.Helper()
	if err := h.machine(t, name).Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// runsOn checks where a machine runs, that its monitor is where it was, and
// that a tap on the bridge is in use there.
func (h *hand) runsOn(t *testing.T, name, host, bridge string) {
	t.Helper()
	if p := h.machine(t, name); p.Namespace != h.Place(host) {
		t.Errorf("%s runs in %s, want %s", name, p.Namespace, host)
	}
	awaitRunning(t, 5*time.Second, filepath.Join(h.dir, name+".qmp"))
	err := h.Place(host).Do(func() error {
		br, err := netlink.LinkByName(bridge)
		if err != nil {
			return err
		}
		links, err := netlink.LinkList()
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(links, func(l netlink.Link) bool { return l.Type() == "tuntap" && l.Attrs().MasterIndex == br.Attrs().Index }) {
			return fmt.Errorf("no tap is a port of %s", bridge)
		}
		return nil
	})
	if err != nil {
		t.Errorf("%s: %v", name, err)
	}
}
