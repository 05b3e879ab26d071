package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/snapline/snapline/lab/topology"
)

// DefaultRoot is where labs have their folders: gone after a reboot, like the
// namespaces and processes.
const DefaultRoot = "/run/snapline-lab"

// Lab is a lab that Up has made. Methods may be called from several
// goroutines, and the lab may be open in several processes.
type Lab struct {
	Name string
	Dir  string

	mu     sync.Mutex // guards record and its file
	record record
}

// record is what is kept in lab.json.
type record struct {
	Name     string    `json:"name"`
	Created  time.Time `json:"created"`
	State    string    `json:"state"` // starting, up
	Workload Workload  `json:"workload"`
	IPv6     bool      `json:"ipv6,omitempty"`
	Snapline string    `json:"snapline,omitempty"`
	// Repository and KeyFile are what the coordinator and the agents are given.
	Repository string        `json:"repository,omitempty"`
	KeyFile    string        `json:"key_file,omitempty"`
	Quarantine time.Duration `json:"quarantine,omitempty"`
	// Env is what daemons have in their environment beside this process's.
	Env     []string            `json:"env,omitempty"`
	Hosts   []Host              `json:"hosts"`
	VMs     []VM                `json:"vms"`
	Daemons map[string]identity `json:"daemons"` // coordinator, h1, h2, …
}

// Host is one host of the lab.
type Host struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"` // for ip netns exec
	Address   string `json:"address"`
}

// ErrNotFound says that there is no lab of that name.
var ErrNotFound = errors.New("no such lab")

// Open returns a lab that Up has made. ErrNotFound when there is none, also
// when only remains are there, which Down(name) clears.
func Open(name string) (*Lab, error) {
	if err := topology.CheckName(name); err != nil {
		return nil, err
	}
	dir, err := filepath.EvalSymlinks(filepath.Join(DefaultRoot, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("lab %s: %w", name, ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	l := &Lab{Name: name, Dir: dir}
	data, err := os.ReadFile(l.path("lab.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("lab %s: %w", name, ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, &l.record); err != nil {
		return nil, fmt.Errorf("lab %s: read lab.json: %w", name, err)
	}
	return l, nil
}

func (l *Lab) path(elem ...string) string {
	return filepath.Join(append([]string{l.Dir}, elem...)...)
}

// change alters the record and puts it on disk.
func (l *Lab) change(alter func(*record)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	alter(&l.record)
	data, err := json.MarshalIndent(l.record, "", "  ")
	if err != nil {
		return err
	}
	tmp := l.path(".lab.json")
	if err := os.WriteFile(tmp, append(data, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, l.path("lab.json"))
}

// read returns a part of the record.
func read[T any](l *Lab, part func(*record) T) T {
	l.mu.Lock()
	defer l.mu.Unlock()
	return part(&l.record)
}

// Hosts are the lab's hosts, h1 first.
func (l *Lab) Hosts() []Host { return read(l, func(r *record) []Host { return r.Hosts }) }

// VMs are the lab's virtual machines as they were first placed, n1 first.
func (l *Lab) VMs() []VM { return read(l, func(r *record) []VM { return r.VMs }) }

// Workload is what runs in the virtual machines.
func (l *Lab) Workload() Workload { return read(l, func(r *record) Workload { return r.Workload }) }

// GroupFile is the path of the file that `snapline apply -f` takes.
func (l *Lab) GroupFile() string { return l.path("group.yaml") }

// Server is the coordinator's API, as --server takes it.
func (l *Lab) Server() string { return "unix://" + l.path("api.sock") }

// Repository is where the lab's snapshots go, and what opens it, as --repo and
// --key-file take them.
func (l *Lab) Repository() (location, keyFile string) {
	return read(l, func(r *record) string { return r.Repository }), read(l, func(r *record) string { return r.KeyFile })
}

// Env is what a program needs in its environment to reach the lab's repository,
// KEY=VALUE each.
func (l *Lab) Env() []string { return read(l, func(r *record) []string { return r.Env }) }

// keyFileName is the lab's own key.
const keyFileName = "repository.key"

// diskDir is where a host keeps its disks.
func (l *Lab) diskDir(host string) string { return l.path("disks", host) }

// Log is the path of a daemon's log: of "coordinator", or of a host's agent.
func (l *Lab) Log(daemon string) string { return l.path("log", daemon+".log") }

func (l *Lab) network() topology.Network {
	return topology.Network{Name: l.Name, Hosts: len(l.Hosts()), IPv6: read(l, func(r *record) bool { return r.IPv6 })}
}

// Place is the namespace of a host ("h1") or of the switch ("sw"), which is
// where clients of the workload belong.
func (l *Lab) Place(name string) topology.Namespace { return l.network().Namespace(name) }

// Switch is the switch's namespace.
func (l *Lab) Switch() topology.Namespace { return l.network().Switch() }
