package lab

import (
	"errors"
	"fmt"
	"time"

	"github.com/snapline/snapline/lab/image"
	"github.com/snapline/snapline/lab/topology"
)

// Workload is what runs in a lab's virtual machines.
type Workload string

const (
	Etcd      Workload = "etcd"      // one etcd cluster of all virtual machines
	Bank      Workload = "bank"      // members that move money between them
	Datagrams Workload = "datagrams" // the same, with flows that nobody acknowledges
	Bench     Workload = "bench"     // members that ping and write memory when told to
	Idle      Workload = "idle"      // guests that do nothing
	None      Workload = "none"      // hosts without virtual machines
)

// Options describe a lab. Only Name is required.
type Options struct {
	Name     string
	Hosts    int      // default 3
	VMs      int      // default as many as hosts; n1 runs on h1, n2 on h2, … and round again
	Workload Workload // default Etcd
	MemMB    int      // of each virtual machine, in MiB; default 256
	// DiskMB is the size of each virtual machine's data disk, in MiB: a qcow2 file
	// with ext4 on it. Default 512 for etcd, otherwise none; negative is none.
	DiskMB int
	// Snapline is the program whose coordinator and agents are started; "" for
	// none, and then only hosts and virtual machines are.
	Snapline string
	// Repository is where snapshots go, and KeyFile what opens it; it must have
	// been made. Default one of the lab's own, in its folder.
	Repository, KeyFile string
	// S3 is the program of versitygw, an S3 server, which then serves the lab's
	// own repository instead of a directory.
	S3 string
	// Dir is the lab's folder, which must not exist; default a folder named
	// after the lab below DefaultRoot. It must be short: QMP sockets lie in it.
	Dir string
	// Images is the cache of guest images; default image.DefaultCache.
	Images string
	// Guest is the static program of the roles bank, datagrams and bench; default the file
	// snapline-bank beside this executable, or else it is built from source.
	Guest string
	// IPv6 leaves IPv6 on, in the hosts and the guests.
	IPv6 bool
	// Quarantine of restored members; default the coordinator's own. Packets live for
	// milliseconds here.
	Quarantine time.Duration
}

func (o *Options) complete() error {
	if err := topology.CheckName(o.Name); err != nil {
		return err
	}
	if o.Hosts == 0 {
		o.Hosts = 3
	}
	if o.Workload == "" {
		o.Workload = Etcd
	}
	if o.VMs == 0 {
		o.VMs = o.Hosts
	}
	if o.MemMB == 0 {
		o.MemMB = 256
	}
	switch {
	case o.DiskMB == 0 && o.Workload == Etcd:
		o.DiskMB = 512
	case o.DiskMB < 0:
		o.DiskMB = 0
	case o.DiskMB > 0 && o.DiskMB < 64:
		return fmt.Errorf("%d MiB of disk: a file system with a journal needs 64", o.DiskMB)
	}
	if o.S3 != "" && o.Repository != "" {
		return errors.New("an S3 server is for the lab's own repository")
	}
	if (o.Repository == "") != (o.KeyFile == "") {
		return errors.New("a repository of one's own needs both Repository and KeyFile")
	}
	switch o.Workload {
	case Etcd, Bank, Datagrams, Bench, Idle:
	case None:
		o.VMs = 0
	default:
		return fmt.Errorf("workload %q: use etcd, bank, datagrams, bench, idle or none", o.Workload)
	}
	if o.Hosts < 1 || o.Hosts > topology.MaxHosts || o.VMs < 0 || o.VMs > maxVMs {
		return fmt.Errorf("%d hosts, %d virtual machines: a lab has 1 to %d hosts and at most %d virtual machines", o.Hosts, o.VMs, topology.MaxHosts, maxVMs)
	}
	if o.MemMB < 192 {
		return fmt.Errorf("%d MiB of memory: a guest needs 192", o.MemMB)
	}
	return nil
}

// maxVMs keeps one machine from being asked for what it cannot give.
const maxVMs = 20

func (w Workload) role() image.Role { return image.Role(w) }
