package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/snapline/snapline/lab/image"
	"github.com/snapline/snapline/lab/topology"
)

// ErrExists says that a lab of that name, or remains of one, are there.
var ErrExists = errors.New("exists already")

// Up makes a lab: hosts, coordinator and agents, virtual machines with their
// workload, and waits until the workload is healthy. All of it outlives this
// process. progress hears each step; nil is fine. If Up returns an error,
// nothing of the lab is left; ErrExists and ErrBusy leave the other one alone.
func Up(ctx context.Context, o Options, progress func(string)) (*Lab, error) {
	if progress == nil {
		progress = func(string) {}
	}
	if err := o.complete(); err != nil {
		return nil, err
	}
	if err := prerequisites(o); err != nil {
		return nil, err
	}
	unlock, err := lock(o.Name)
	if err != nil {
		return nil, err
	}
	defer unlock()
	left, err := Leftovers(o.Name)
	if err != nil {
		return nil, err
	}
	if len(left) > 0 {
		return nil, fmt.Errorf("lab %s: %w (%s): take it down first", o.Name, ErrExists, left[0])
	}
	l, err := build(ctx, o, progress)
	if err != nil {
		err = fmt.Errorf("bring up lab %s: %w", o.Name, err)
		return nil, errors.Join(err, down(context.WithoutCancel(ctx), o.Name))
	}
	return l, nil
}

func prerequisites(o Options) error {
	if os.Geteuid() != 0 {
		return errors.New("a lab makes network namespaces: run as root")
	}
	tools := []string{"ip", "nsenter"}
	if o.Workload != None {
		tools = append(tools, "qemu-system-x86_64", "dpkg-deb", "apt-get")
	}
	if o.DiskMB > 0 {
		tools = append(tools, "qemu-img", "mkfs.ext4")
	}
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%w: install it (apt-get install iproute2 util-linux qemu-system-x86 qemu-utils e2fsprogs)", err)
		}
	}
	return nil
}

func build(ctx context.Context, o Options, progress func(string)) (*Lab, error) {
	start := time.Now()
	l, err := newLab(o)
	if err != nil {
		return nil, err
	}
	progress(fmt.Sprintf("connecting %d hosts", o.Hosts))
	if err := l.network().Up(ctx); err != nil {
		return nil, err
	}
	if o.Workload != None {
		if err := l.bootAll(ctx, o, progress); err != nil {
			return nil, err
		}
	}
	// The daemons start while the guests boot.
	if o.Snapline != "" {
		progress("starting coordinator and agents")
		if o.S3 != "" {
			if err := l.startS3(ctx, o.S3); err != nil {
				return nil, err
			}
		}
		if err := errors.Join(l.initRepository(), l.initAuthority()); err != nil {
			return nil, err
		}
		if err := l.StartCoordinator(ctx); err != nil {
			return nil, err
		}
		for _, h := range l.Hosts() {
			if err := l.StartAgent(h.Name); err != nil {
				return nil, err
			}
		}
	}
	if o.Workload != None {
		progress(fmt.Sprintf("waiting for %s", o.Workload))
		if err := l.AwaitHealthy(ctx); err != nil {
			return nil, err
		}
	}
	for _, name := range read(l, (*record).daemonNames) {
		if !l.DaemonAlive(name) {
			return nil, fmt.Errorf("%s has ended; %s", name, tail(l.Log(name)))
		}
	}
	if err := l.change(func(r *record) { r.State = "up" }); err != nil {
		return nil, err
	}
	progress(fmt.Sprintf("lab %s is up after %.1f s", l.Name, time.Since(start).Seconds()))
	return l, nil
}

// newLab makes the lab's folder and record, before anything that the record
// must help to find again.
func newLab(o Options) (*Lab, error) {
	dir, err := makeDir(o)
	if err != nil {
		return nil, err
	}
	l := &Lab{Name: o.Name, Dir: dir}
	program := o.Snapline
	if program != "" {
		if program, err = filepath.Abs(program); err != nil {
			return nil, err
		}
	}
	network := topology.Network{Name: o.Name}
	err = l.change(func(r *record) {
		*r = record{Name: o.Name, Created: time.Now().UTC().Truncate(time.Second), State: "starting", Workload: o.Workload,
			IPv6: o.IPv6, Quarantine: o.Quarantine, Snapline: program, Repository: o.Repository, KeyFile: o.KeyFile, Daemons: make(map[string]identity)}
		if r.Repository == "" {
			r.Repository, r.KeyFile = l.path("repo"), l.path(keyFileName)
		}
		for i := 1; i <= o.Hosts; i++ {
			name := topology.HostName(i)
			r.Hosts = append(r.Hosts, Host{name, string(network.Namespace(name)), topology.HostAddress(i)})
		}
		for i := 1; i <= o.VMs; i++ {
			name := fmt.Sprintf("n%d", i)
			host := topology.HostName((i-1)%o.Hosts + 1)
			disk := ""
			if o.DiskMB > 0 {
				disk = filepath.Join(l.diskDir(host), name+".qcow2")
			}
			r.VMs = append(r.VMs, VM{
				Name: name, Host: host, Disk: disk,
				Address: topology.VMAddress(i), MAC: topology.VMHardwareAddress(i), MemMB: o.MemMB,
				QMP: l.path("vms", name+".qmp"), Console: l.path("vms", name+".console"),
				Script: l.path("run-" + name + ".sh"),
			})
		}
	})
	if err != nil {
		return nil, err
	}
	folders := []string{l.path("vms"), l.path("log"), l.path("disks")}
	for _, h := range l.Hosts() {
		folders = append(folders, l.diskDir(h.Name))
	}
	for _, d := range folders {
		if err := os.Mkdir(d, 0o755); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// diskRoot holds the folders of labs that DefaultRoot has no room for.
const diskRoot = "/var/lib/snapline-lab"

// makeDir makes the lab's folder. DefaultRoot always has an entry of the lab's
// name: the folder itself, or a link to it.
func makeDir(o Options) (string, error) {
	entry := filepath.Join(DefaultRoot, o.Name)
	dir := o.Dir
	if dir == "" {
		// Spools and repository take about three times the guests' memory; disks
		// are sparse, and there for a second time in the repository.
		var st unix.Statfs_t
		need := uint64(o.VMs*(o.MemMB*3+o.DiskMB)+256) << 20
		if err := unix.Statfs(DefaultRoot, &st); err != nil {
			return "", fmt.Errorf("look at %s: %w", DefaultRoot, err)
		}
		if st.Bavail*uint64(st.Bsize) >= need {
			return entry, os.Mkdir(entry, 0o755)
		}
		dir = filepath.Join(diskRoot, o.Name)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	// sockaddr_un has 108 bytes, unix(7).
	if longest := filepath.Join(dir, "vms", "n20.qmp"); len(longest) > 107 {
		return "", fmt.Errorf("folder %s is too long for unix sockets inside it: choose one of at most %d bytes", dir, len(dir)-(len(longest)-107))
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", err
	}
	if err := os.Symlink(dir, entry); err != nil {
		return "", err
	}
	return dir, os.Mkdir(dir, 0o755)
}

// bootAll writes the virtual machines' scripts and group file and starts them.
func (l *Lab) bootAll(ctx context.Context, o Options, progress func(string)) error {
	program, done, err := guestProgram(ctx, o)
	if err != nil {
		return err
	}
	defer done()
	img, err := image.Build(ctx, image.Options{Cache: o.Images, Program: program, Progress: progress})
	if err != nil {
		return err
	}
	accel, err := chooseAccel(ctx, img)
	if err != nil {
		return err
	}
	if err := l.writeGroup(); err != nil {
		return err
	}
	progress(fmt.Sprintf("starting %d virtual machines (%s)", o.VMs, accel))
	var peers []image.Peer
	for _, v := range l.VMs() {
		peers = append(peers, image.Peer{Name: v.Name, Address: v.Address})
	}
	token := fmt.Sprintf("%s-%x", l.Name, time.Now().UnixNano())
	for _, v := range l.VMs() {
		g := image.Guest{Role: o.Workload.role(), Name: v.Name, Peers: peers, IPv6: o.IPv6,
			Address: fmt.Sprintf("%s/%d", v.Address, topology.PrefixLen),
			Token:   token, Heartbeat: heartbeat, Election: election}
		if err := os.WriteFile(v.Script, []byte(script(v, img, accel, g.Append())), 0o755); err != nil {
			return err
		}
		if v.Disk != "" {
			if err := makeDisk(ctx, v.Disk, o.DiskMB); err != nil {
				return err
			}
		}
		if err := l.StartVM(ctx, v.Name, v.Host); err != nil {
			return err
		}
	}
	return nil
}
