// Package apitest exists so that everything above api.Service can be tried
// without a coordinator, a host or a virtual machine: a fake that keeps its
// state in memory, a decorator that fails named operations, and the
// conformance suite that every implementation of api.Service runs.
package apitest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/api"
)

// Options of a Fake. The zero value is two hosts, no delays and time.Now.
type Options struct {
	Hosts []snapline.HostName
	// Pace is the time between two steps of an operation.
	Pace time.Duration
	// Hold makes operations wait before they commit, or before members run
	// again, until Release.
	Hold bool
	// Fail is what operations end with instead of success, while preparing.
	Fail *snapline.Error
	// Ill is what Doctor finds beside what is well, at the first host or member.
	Ill *snapline.Finding
	// Method and Why are the captures'; default background-snapshot.
	Method, Why string
	// Repository is where snapshots are said to be, and its id.
	Repository snapline.RepositoryInfo
	Now        func() time.Time
}

// Fake is an api.Service whose virtual machines are made up. Groups whose
// members are on its hosts can be applied, taken and restored.
type Fake struct {
	opts    Options
	held    chan snapline.OperationID
	release chan struct{}
	stop    context.CancelFunc
	ctx     context.Context
	runs    sync.WaitGroup

	mu        sync.Mutex
	groups    map[snapline.GroupName]*group
	snapshots []snapline.Snapshot
	deleted   int        // snapshots whose space has not been freed
	pruning   *operation // the repository's
	draining  *operation
	drained   map[snapline.HostName]bool
	ops       map[snapline.OperationID]*operation

	events     []snapline.Event
	moreEvents chan struct{} // closed and replaced with every event
}

var _ api.Service = (*Fake)(nil)

type group struct {
	declared   snapline.Group
	place      map[snapline.MemberName]snapline.HostName
	round      snapline.Round
	running    *operation
	protection *snapline.Protection
}

// New returns a Fake; Close it.
func New(o Options) *Fake {
	if o.Hosts == nil {
		o.Hosts = []snapline.HostName{"h1", "h2"}
	}
	if o.Method == "" {
		o.Method = "background-snapshot"
	}
	if o.Repository.ID == "" {
		o.Repository.ID = "FAKEFAKEFAKEFAKEFAKEFAKEFA"
	}
	if o.Repository.Location == "" {
		o.Repository.Location = "/srv/snapline"
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	ctx, stop := context.WithCancel(context.Background())
	return &Fake{opts: o, ctx: ctx, stop: stop,
		held: make(chan snapline.OperationID, 16), release: make(chan struct{}),
		moreEvents: make(chan struct{}), drained: map[snapline.HostName]bool{},
		groups: map[snapline.GroupName]*group{}, ops: map[snapline.OperationID]*operation{}}
}

// Close ends running operations and waits for them.
func (f *Fake) Close() {
	f.stop()
	f.runs.Wait()
}

// Held gets the id of every operation that has come to wait for Release.
func (f *Fake) Held() <-chan snapline.OperationID { return f.held }

// Release lets one held operation go on; it waits until there is one.
func (f *Fake) Release(ctx context.Context) error {
	select {
	case f.release <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func notFound(kind, name string) error {
	return &snapline.Error{Code: snapline.CodeNotFound, Message: fmt.Sprintf("there is no %s %s", kind, name)}
}

func (f *Fake) Hosts(context.Context) ([]snapline.HostStatus, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []snapline.HostStatus
	for i, h := range slices.Sorted(slices.Values(f.opts.Hosts)) {
		all = append(all, snapline.HostStatus{Name: h, Agent: "online", Incarnation: snapline.Incarnation(fmt.Sprintf("life%d", i+1)),
			Version: "fake", Hypervisor: "qemu 7.2.22 tcg", LastSeen: f.opts.Now(),
			MemoryBytes: 16 << 30, AvailableBytes: 9 << 30, Cores: 8, Drained: f.drained[h]})
	}
	return all, nil
}

func (f *Fake) Apply(_ context.Context, g snapline.Group) (snapline.GroupStatus, error) {
	if bad := g.Problems(); bad != nil {
		return snapline.GroupStatus{}, &snapline.Error{Code: snapline.CodeInvalid, Message: fmt.Sprintf("group %q is not valid", g.Name), Reasons: bad}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	known := f.groups[g.Name]
	if known == nil {
		known = &group{place: map[snapline.MemberName]snapline.HostName{}}
		f.groups[g.Name] = known
	} else if known.running != nil {
		return snapline.GroupStatus{}, busy(g.Name, known)
	}
	known.declared = g
	known.declared.Members = slices.Clone(g.Members)
	for _, m := range g.Members {
		if _, placed := known.place[m.Name]; !placed {
			known.place[m.Name] = m.Host
		}
	}
	return f.status(known), nil
}

func busy(name snapline.GroupName, g *group) error {
	return &snapline.Error{Code: snapline.CodeBusy,
		Message: fmt.Sprintf("group %s is busy: %s %s is running", name, g.running.op.Kind, g.running.op.ID),
		Hint:    fmt.Sprintf("wait for it, or see `snapline status %s`", name)}
}

func (f *Fake) Groups(context.Context) ([]snapline.GroupStatus, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []snapline.GroupStatus
	for _, g := range f.groups {
		all = append(all, f.status(g))
	}
	slices.SortFunc(all, func(a, b snapline.GroupStatus) int {
		if a.Group.Name < b.Group.Name {
			return -1
		}
		return 1
	})
	return all, nil
}

func (f *Fake) Status(_ context.Context, name snapline.GroupName) (snapline.GroupStatus, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	g := f.groups[name]
	if g == nil {
		return snapline.GroupStatus{}, notFound("group", string(name))
	}
	return f.status(g), nil
}

// status is called with mu held.
func (f *Fake) status(g *group) snapline.GroupStatus {
	s := snapline.GroupStatus{Group: g.declared, Protection: g.protection}
	if g.running != nil {
		s.Operation = g.running.op.ID
	}
	for _, snap := range f.snapshots {
		if snap.Group.Name == g.declared.Name {
			s.Last, s.LastAt = snap.ID, &snap.TakenAt
		}
	}
	for _, m := range g.declared.Members {
		member := snapline.MemberStatus{Name: m.Name, Host: g.place[m.Name], Agent: "online", VM: "running"}
		if !slices.Contains(f.opts.Hosts, member.Host) {
			member.Agent, member.VM, member.Text = "unknown", "unknown", "no agent of that name has joined"
		}
		s.Members = append(s.Members, member)
	}
	return s
}

func (f *Fake) Snapshots(_ context.Context, name snapline.GroupName) ([]snapline.Snapshot, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := []snapline.Snapshot{}
	for _, s := range f.snapshots {
		if name == "" || s.Group.Name == name {
			all = append(all, s)
		}
	}
	return all, nil
}

func (f *Fake) Snapshot(_ context.Context, id snapline.SnapshotID) (snapline.Snapshot, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if i := f.find(id); i >= 0 {
		return f.snapshots[i], nil
	}
	return snapline.Snapshot{}, notFound("snapshot", string(id))
}

func (f *Fake) Delete(_ context.Context, id snapline.SnapshotID) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := f.find(id)
	if i < 0 {
		return notFound("snapshot", string(id))
	}
	g := f.groups[f.snapshots[i].Group.Name]
	if g != nil && g.running != nil && g.running.op.Kind == "restore" && g.running.op.Snapshot == id {
		return busy(g.declared.Name, g)
	}
	f.snapshots = slices.Delete(f.snapshots, i, i+1)
	f.deleted++
	return nil
}

// find is called with mu held.
func (f *Fake) find(id snapline.SnapshotID) int {
	return slices.IndexFunc(f.snapshots, func(s snapline.Snapshot) bool { return s.ID == id })
}
