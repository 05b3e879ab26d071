package node_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/snapline/snapline"
)

// cloud is all hosts' virtual machines, in memory: what QEMU is to the tests
// that run real ones.
type cloud struct {
	mu  sync.Mutex
	vms map[string]*fakeVM // "host/member"
	// fail makes the named step of a member fail: "cut n2", "load n1", …
	fail map[string]error
	// hold makes the named step of a member wait until the channel is closed.
	hold map[string]chan struct{}
	// held gets a value when a step begins to wait.
	held map[string]chan struct{}
	// second gives every VM a second NIC.
	second bool
}

func newCloud() *cloud {
	return &cloud{vms: map[string]*fakeVM{}, fail: map[string]error{}, hold: map[string]chan struct{}{}, held: map[string]chan struct{}{}}
}

// boot starts a VM whose whole state is the given text.
func (c *cloud) boot(h snapline.HostName, m snapline.MemberName, state string) *fakeVM {
	return c.bootAt("/run/"+string(m)+".qmp", h, m, state)
}

// bootAt is boot with another monitor than that of site.group.
func (c *cloud) bootAt(qmp string, h snapline.HostName, m snapline.MemberName, state string) *fakeVM {
	vm := &fakeVM{cloud: c, host: h, member: m, qmp: qmp, state: state, status: "running", gone: make(chan struct{})}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.vms[string(h)+"/"+string(m)] = vm
	return vm
}

func (c *cloud) find(h snapline.HostName, m snapline.MemberName) *fakeVM {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.vms[string(h)+"/"+string(m)]
}

// behind finds the VM of a host with that monitor.
func (c *cloud) behind(h snapline.HostName, qmp string) *fakeVM {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, vm := range c.vms {
		if vm.host == h && vm.qmp == qmp {
			return vm
		}
	}
	return nil
}

// step fails or waits as the test has asked.
func (c *cloud) step(ctx context.Context, what string, m snapline.MemberName) error {
	key := what + " " + string(m)
	c.mu.Lock()
	err, hold, held := c.fail[key], c.hold[key], c.held[key]
	c.mu.Unlock()
	if hold != nil {
		select {
		case held <- struct{}{}:
		default:
		}
		select {
		case <-hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return err
}

func (c *cloud) failAt(step string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fail[step] = err
}

func (c *cloud) holdAt(step string) (release func()) {
	ch := make(chan struct{})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hold[step] = ch
	c.held[step] = make(chan struct{}, 1)
	return sync.OnceFunc(func() { close(ch) })
}

// heldAt gets a value when the step that holdAt named begins to wait.
func (c *cloud) heldAt(step string) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.held[step]
}

// fakeHypervisor is one host's view of the cloud.
type fakeHypervisor struct {
	cloud *cloud
	host  snapline.HostName
}

func (f *fakeHypervisor) Adopt(ctx context.Context, m snapline.Member) (snapline.VM, error) {
	if err := f.cloud.step(ctx, "adopt", m.Name); err != nil {
		return nil, err
	}
	vm := f.cloud.behind(f.host, m.QEMU.QMP)
	if vm == nil {
		return nil, fmt.Errorf("QMP socket %s: %w", m.QEMU.QMP, snapline.ErrNoVM)
	}
	return vm, nil
}

func (f *fakeHypervisor) Reconcile(context.Context) error { return nil }

func (f *fakeHypervisor) Plan(ctx context.Context, m snapline.Member, _ snapline.VMInfo, _ []snapline.DiskSnapshot) []snapline.Reason {
	if err := f.cloud.step(ctx, "plan", m.Name); err != nil {
		return []snapline.Reason{{Text: err.Error()}}
	}
	return nil
}

func (f *fakeHypervisor) Load(ctx context.Context, m snapline.Member, _ snapline.VMInfo, s snapline.Stream, disks []snapline.StoredDisk) (snapline.VM, error) {
	if err := f.cloud.step(ctx, "load", m.Name); err != nil {
		return nil, err
	}
	b, err := io.ReadAll(s)
	if err != nil {
		return nil, err
	}
	loaded := make([]*fakeDisk, len(disks))
	for i, d := range disks {
		if loaded[i], err = loadDisk(ctx, d); err != nil {
			return nil, err
		}
	}
	vm := f.cloud.bootAt(m.QEMU.QMP, f.host, m.Name, string(b))
	vm.disks = loaded
	vm.set("paused")
	return vm, nil
}

func (f *fakeHypervisor) Stop(ctx context.Context, m snapline.Member, macs []string) error {
	if err := f.cloud.step(ctx, "stop", m.Name); err != nil {
		return err
	}
	if vm := f.cloud.behind(f.host, m.QEMU.QMP); vm != nil && (macs == nil || slices.Contains(macs, vm.Info().NICs[0].MAC)) {
		vm.end()
	}
	return nil
}

type fakeVM struct {
	cloud  *cloud
	host   snapline.HostName
	member snapline.MemberName
	qmp    string

	mu     sync.Mutex
	state  string
	status string
	disks  []*fakeDisk
	gone   chan struct{}
	killed atomic.Bool // by who has loaded it, which gives its disks back
}

func (v *fakeVM) set(status string) { v.mu.Lock(); v.status = status; v.mu.Unlock() }

// now is the VM's run state and state in one line.
func (v *fakeVM) now() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.status + ", " + v.state
}

func (v *fakeVM) Info() snapline.VMInfo {
	info := snapline.VMInfo{Hypervisor: "fake", RAMBytes: 1 << 20,
		NICs: []snapline.NIC{{ID: "net0", Tap: "tap-" + string(v.member), MAC: "02:00:00:00:00:" + fmt.Sprintf("%02x", v.member[len(v.member)-1])}}}
	if v.cloud.second {
		info.NICs = append(info.NICs, snapline.NIC{ID: "net1", Tap: "tap1-" + string(v.member), MAC: "02:00:00:00:01:" + fmt.Sprintf("%02x", v.member[len(v.member)-1])})
	}
	return info
}
func (v *fakeVM) Status(context.Context) (string, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.status, nil
}
func (v *fakeVM) Problems(ctx context.Context) []snapline.Reason {
	if err := v.cloud.step(ctx, "problems", v.member); err != nil {
		return []snapline.Reason{{Text: err.Error()}}
	}
	return nil
}
func (v *fakeVM) Prime(_ context.Context, spool string) (snapline.Capture, error) {
	return &fakeCapture{vm: v, spool: spool}, nil
}
func (v *fakeVM) Plug(ctx context.Context) error             { return v.cloud.step(ctx, "plug", v.member) }
func (v *fakeVM) Pause(context.Context, time.Duration) error { v.set("paused"); return nil }
func (v *fakeVM) Resume(ctx context.Context) error {
	if err := v.cloud.step(ctx, "resume", v.member); err != nil {
		return err
	}
	v.set("running")
	return nil
}
func (v *fakeVM) Announce(context.Context) error { return nil }
func (v *fakeVM) Kill(ctx context.Context) error {
	if err := v.cloud.step(ctx, "kill", v.member); err != nil {
		return err
	}
	v.end()
	v.killed.Store(true)
	return nil
}

// end is the end of the process, by whomever.
func (v *fakeVM) end() {
	v.cloud.mu.Lock()
	defer v.cloud.mu.Unlock()
	key := string(v.host) + "/" + string(v.member)
	if v.cloud.vms[key] == v {
		delete(v.cloud.vms, key)
		close(v.gone)
	}
}
func (v *fakeVM) Gone() <-chan struct{} { return v.gone }
func (v *fakeVM) Close() error          { return nil }

type fakeCapture struct {
	vm    *fakeVM
	spool string
	taken string
	disks []snapline.FrozenDisk
}

func (f *fakeCapture) Cut(ctx context.Context) (snapline.CaptureReport, error) {
	if err := f.vm.cloud.step(ctx, "cut", f.vm.member); err != nil {
		return snapline.CaptureReport{}, err
	}
	f.vm.mu.Lock()
	defer f.vm.mu.Unlock()
	f.taken, f.vm.status = f.vm.state, "running"
	for _, d := range f.vm.disks {
		f.disks = append(f.disks, d.freeze())
	}
	return snapline.CaptureReport{Method: "fake", PauseMS: 1}, nil
}
func (f *fakeCapture) Finish(ctx context.Context) (snapline.Spooled, error) {
	if err := f.vm.cloud.step(ctx, "finish", f.vm.member); err != nil {
		return snapline.Spooled{}, err
	}
	return snapline.Spooled{Path: f.spool, Bytes: int64(len(f.taken)), PauseMS: 1, Disks: f.disks}, os.WriteFile(f.spool, []byte(f.taken), 0o600)
}
func (f *fakeCapture) Cancel()         { os.Remove(f.spool) }
func (f *fakeCapture) Progress() int64 { return int64(len(f.taken)) }

// fakeGates is one host's gates. Every probe of every gate arrives at all.
type fakeGates struct {
	mu        sync.Mutex
	open      map[*fakeGate]bool
	fail      error
	delivered [][]byte
	// recording is what its gates have recorded; nil for nothing.
	recording func() snapline.Recording
	// bleach, when set, is what arrives instead of the mark.
	bleach *snapline.Codepoint
	air    *air
}

// air is the network that the probes go through.
type air struct {
	mu   sync.Mutex
	seen map[uint64]map[uint32]snapline.Codepoint
}

func (g *fakeGates) Open(_ context.Context, nics []snapline.NIC, post snapline.Codepoint) (snapline.Gate, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.fail != nil {
		return nil, g.fail
	}
	gate := &fakeGate{gates: g, post: post, withheld: make(chan struct{}, 1)}
	g.open[gate] = true
	return gate, nil
}
func (g *fakeGates) Reconcile(context.Context) error                { return nil }
func (g *fakeGates) Announce(context.Context, []snapline.NIC) error { return nil }
func (g *fakeGates) Deliver(_ context.Context, _ []snapline.NIC, frames [][]byte) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.delivered = append(g.delivered, frames...)
	return g.fail
}
func (g *fakeGates) count() int { g.mu.Lock(); defer g.mu.Unlock(); return len(g.open) }

type fakeGate struct {
	gates    *fakeGates
	post     snapline.Codepoint
	withheld chan struct{}
	leaked   uint64
	mu       sync.Mutex
	rules    []snapline.GateRules
}

func (g *fakeGate) Set(r snapline.GateRules) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.rules = append(g.rules, r)
	return nil
}
func (g *fakeGate) Counters() (snapline.GateCounters, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return snapline.GateCounters{Withheld: 2, Marked: 3, Leaked: g.leaked}, nil
}
func (g *fakeGate) Record(snapline.Instant) error { return nil }
func (g *fakeGate) Recorded() (snapline.Recording, error) {
	if r := g.gates.recording; r != nil {
		return r(), nil
	}
	return snapline.Recording{}, nil
}
func (g *fakeGate) Withheld() <-chan struct{} { return g.withheld }
func (g *fakeGate) Probe(_ context.Context, nonce uint64, sender uint32, _ []string) error {
	a := g.gates.air
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.seen[nonce] == nil {
		a.seen[nonce] = map[uint32]snapline.Codepoint{}
	}
	a.seen[nonce][sender] = g.post
	if g.gates.bleach != nil {
		a.seen[nonce][sender] = *g.gates.bleach
	}
	return nil
}
func (g *fakeGate) Probes(nonce uint64) (map[uint32]snapline.Codepoint, error) {
	a := g.gates.air
	a.mu.Lock()
	defer a.mu.Unlock()
	out := map[uint32]snapline.Codepoint{}
	for k, v := range a.seen[nonce] {
		out[k] = v
	}
	return out, nil
}
func (g *fakeGate) Close() error {
	g.gates.mu.Lock()
	defer g.gates.mu.Unlock()
	delete(g.gates.open, g)
	return nil
}

var errBroken = errors.New("broken on purpose")
