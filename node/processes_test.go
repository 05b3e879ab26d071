package node_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/api"
	"github.com/snapline/snapline/cli"
	"github.com/snapline/snapline/fencetest"
	"github.com/snapline/snapline/nats"
	"github.com/snapline/snapline/node"
	"github.com/snapline/snapline/repository"
	"github.com/snapline/snapline/repository/location"
	"github.com/snapline/snapline/trust"
)

// asProgram, when set, makes the test binary the snapline program.
const asProgram = "SNAPLINE_NODE_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) == "" {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(cli.Run(ctx, cli.Deps{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Env: os.LookupEnv,
		Extra: []*cobra.Command{cli.NewCoordinatorCommand()}}, os.Args[1:]))
}

// takeoverLimit is generous: the machine may be loaded.
const takeoverLimit = 60 * time.Second

// installation is three coordinators, each a process with an embedded server,
// and three agents in this process, on fake machines.
type installation struct {
	t     *testing.T
	dir   string
	key   []byte
	args  map[string][]string
	cmds  map[string]*exec.Cmd
	logs  map[string]*lockedBuffer
	urls  []string // for agents
	apis  []string // for users
	user  *api.Client
	cloud *cloud
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func newInstallation(t *testing.T) *installation {
	s := &installation{t: t, dir: t.TempDir(), args: map[string][]string{}, cmds: map[string]*exec.Cmd{}, logs: map[string]*lockedBuffer{}, cloud: newCloud()}
	repo, keyFile := filepath.Join(s.dir, "repo"), filepath.Join(s.dir, "key")
	s.key = bytes.Repeat([]byte("a key of a test "), 2)
	if err := os.WriteFile(keyFile, s.key, 0o600); err != nil {
		t.Fatal(err)
	}
	init := s.program("repo", "init", "--repo", repo, "--key-file", keyFile)
	if out, err := init.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	names, ports := []string{"c1", "c2", "c3"}, freePorts(t, 6)
	s.authority(names)
	var members []string
	for i, name := range names {
		members = append(members, fmt.Sprintf("%s=127.0.0.1:%d", name, ports[i]))
		s.urls = append(s.urls, fmt.Sprintf("127.0.0.1:%d", ports[3+i]))
		s.apis = append(s.apis, "unix://"+filepath.Join(s.dir, name+".sock"))
	}
	for i, name := range names {
		s.args[name] = []string{"coordinator", "--name", name, "--cluster", strings.Join(members, ","), "--listen", s.urls[i], "--http", s.apis[i],
			"--data", filepath.Join(s.dir, name), "--repo", repo, "--key-file", keyFile}
		s.logs[name] = &lockedBuffer{}
		s.start(name)
	}
	t.Cleanup(func() {
		for _, cmd := range s.cmds {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
		for name, log := range s.logs {
			if t.Failed() {
				t.Logf("log of %s:\n%s", name, log.b.String())
			}
		}
	})
	user, err := api.NewClient(strings.Join(s.apis, ","))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(user.Close)
	s.user = user
	return s
}

// authority makes the cluster's, and brings it to all coordinators.
func (s *installation) authority(names []string) {
	s.t.Helper()
	first := filepath.Join(s.dir, names[0], "trust")
	if out, err := s.program("init", "--data", filepath.Dir(first), "--out", filepath.Join(s.dir, "operator.pem")).CombinedOutput(); err != nil {
		s.t.Fatalf("%v: %s", err, out)
	}
	files, err := os.ReadDir(first)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, name := range names[1:] {
		dir := filepath.Join(s.dir, name, "trust")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			s.t.Fatal(err)
		}
		for _, f := range files {
			b, err := os.ReadFile(filepath.Join(first, f.Name()))
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, f.Name()), b, 0o600)
			}
			if err != nil {
				s.t.Fatal(err)
			}
		}
	}
}

// join makes a host's token and joins with it.
func (s *installation) join(h snapline.HostName) *trust.Holder {
	s.t.Helper()
	made, err := s.user.CreateToken(s.t.Context(), snapline.TokenRequest{Host: h})
	if err != nil {
		s.t.Fatal(err)
	}
	token, err := trust.ParseToken(made.Token)
	if err != nil {
		s.t.Fatal(err)
	}
	conn, err := nats.Dial(s.t.Context(), nats.DialOptions{URL: strings.Join(s.urls, ","), As: trust.ToToken(token.ID()), TLS: trust.Pinned(token), Token: token.Password()})
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(s.t.Context(), takeoverLimit)
	defer cancel()
	for {
		if err = conn.WaitConnected(ctx); err != nil {
			break
		}
		var c *trust.Credential
		if c, err = trust.Join(ctx, conn, token, h); err == nil {
			return trust.NewHolder(c, nil)
		}
		select {
		case <-time.After(100 * time.Millisecond):
			continue
		case <-ctx.Done():
		}
		break
	}
	s.t.Fatalf("join %s: %v", h, err)
	return nil
}

func freePorts(t *testing.T, n int) (ports []int) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

func (s *installation) program(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	return cmd
}

func (s *installation) start(name string) {
	cmd := s.program(s.args[name]...)
	cmd.Stdout, cmd.Stderr = s.logs[name], s.logs[name]
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.cmds[name] = cmd
}

// leader asks each coordinator whether it leads.
func (s *installation) leader() string {
	s.t.Helper()
	for _, name := range []string{"c1", "c2", "c3"} {
		c, err := api.NewClient("unix://" + filepath.Join(s.dir, name+".sock"))
		if err != nil {
			s.t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Hosts(s.t.Context()); err == nil {
			return name
		}
	}
	s.t.Fatal("nobody leads")
	return ""
}

// killLeader kills the leader by SIGKILL and reports when another one serves, with
// all agents.
func (s *installation) killLeader(when string) {
	s.t.Helper()
	name := s.leader()
	began := time.Now()
	if err := s.cmds[name].Process.Kill(); err != nil {
		s.t.Fatal(err)
	}
	_ = s.cmds[name].Wait()
	s.online()
	s.t.Logf("%s was killed %s; %s serves after %v", name, when, s.leader(), time.Since(began).Round(10*time.Millisecond))
	s.start(name) // as its service manager does
}

// online waits until all agents are.
func (s *installation) online() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), takeoverLimit)
	defer cancel()
	for {
		hosts, err := s.user.Hosts(ctx)
		n := 0
		for _, h := range hosts {
			if h.Agent == "online" {
				n++
			}
		}
		if err == nil && n == 3 {
			return
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			s.t.Fatalf("not all agents are online within %v: %+v, %v", takeoverLimit, hosts, err)
		}
	}
}

// startAgents starts the agents of h1 to h3, each with its member.
func (s *installation) startAgents() {
	secret, err := repository.KeyFile(s.key)
	if err != nil {
		s.t.Fatal(err)
	}
	air := &air{seen: map[uint64]map[uint32]snapline.Codepoint{}}
	for i := 1; i <= 3; i++ {
		conn, err := nats.Dial(s.t.Context(), nats.DialOptions{URL: strings.Join(s.urls, ","), As: snapline.ToAgent(host(i)), TLS: s.join(host(i)).Client(snapline.KindCoordinator)})
		if err != nil {
			s.t.Fatal(err)
		}
		a, err := node.NewAgent(node.AgentConfig{Host: host(i), Dir: s.t.TempDir(), Bus: conn, Hypervisor: &fakeHypervisor{s.cloud, host(i)},
			Gates: &fakeGates{open: map[*fakeGate]bool{}, air: air}, Fences: &fencetest.Memory{Now: node.BootClock{}.Now},
			OpenRepository: func(ctx context.Context, at string) (snapline.Repository, error) {
				store, err := location.Open(ctx, at)
				if err != nil {
					return nil, err
				}
				return repository.Open(ctx, store, secret, repository.Options{})
			}})
		if err != nil {
			s.t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- a.Run(ctx) }()
		s.t.Cleanup(func() {
			cancel()
			if err := <-done; err != nil {
				s.t.Error(err)
			}
			conn.Close()
		})
		s.cloud.boot(host(i), member(i), "state of "+string(member(i)))
	}
}

// ended follows an operation over all that happens to its coordinators.
func (s *installation) ended(op snapline.Operation) snapline.Operation {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), takeoverLimit)
	defer cancel()
	for ctx.Err() == nil {
		steps, err := s.user.Progress(ctx, op.ID, 0)
		if err == nil {
			for range steps {
			}
			if op, err = s.user.Operation(ctx, op.ID); err == nil && op.State != "running" {
				return op
			}
		}
		if e := (*snapline.Error)(nil); errors.As(err, &e) && e.Code == snapline.CodeNotFound {
			s.t.Fatal(err)
		}
	}
	s.t.Fatalf("operation %s has not ended within %v", op.ID, takeoverLimit)
	return op
}

// mustTake retries while the agents are on their way to a repository.
func (s *installation) mustTake() snapline.SnapshotID {
	s.t.Helper()
	limit := time.Now().Add(takeoverLimit)
	for {
		op, err := s.user.Take(s.t.Context(), snapline.TakeRequest{Group: "g"})
		if err != nil {
			s.t.Fatal(err)
		}
		if op = s.ended(op); op.State == "done" {
			return op.Snapshot
		}
		if op.Error.Code != snapline.CodeRefused || time.Now().After(limit) {
			s.t.Fatalf("take: %v", op.Error)
		}
	}
}

// TestThreeProcesses kills the coordinator that leads, a real process with
// clustered JetStream and TLS between all, in the middle of a cut, of storing and of a restore. Users
// and agents know the addresses of all three, and notice nothing but the time.
func TestThreeProcesses(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for leases of real processes")
	}
	s := newInstallation(t)
	s.startAgents()
	group := (&site{}).group()
	if _, err := s.user.Apply(t.Context(), group); err != nil {
		t.Fatal(err)
	}
	s.online()
	first := s.mustTake()

	for _, step := range []string{"cut n2", "finish n2"} {
		release := s.cloud.holdAt(step)
		op, err := s.user.Take(t.Context(), snapline.TakeRequest{Group: "g"})
		if err != nil {
			t.Fatal(err)
		}
		<-s.cloud.heldAt(step)
		s.killLeader("at " + step)
		release()
		if op = s.ended(op); op.State != "failed" || op.Error.Code != snapline.CodeFailed {
			t.Errorf("operation %+v, %v", op, op.Error)
		}
		if _, err := s.user.Snapshot(t.Context(), op.Snapshot); code(err) != snapline.CodeNotFound {
			t.Errorf("snapshot %s: %v", op.Snapshot, err)
		}
		s.mustTake()
	}

	for i := 1; i <= 3; i++ {
		s.cloud.boot(host(i), member(i), "a later state")
	}
	// A coordinator that has only just started cannot tell a leader that dies now
	// from one that died long ago, whose restores nobody goes on with: the one that
	// was started last has to see this one's entry change.
	select {
	case <-time.After(node.LeaderLease / 2):
	case <-t.Context().Done():
	}
	release := s.cloud.holdAt("load n2")
	op, err := s.user.Restore(t.Context(), snapline.RestoreRequest{Snapshot: first, Place: map[snapline.MemberName]snapline.HostName{"n1": "h2", "n2": "h3", "n3": "h1"}})
	if err != nil {
		t.Fatal(err)
	}
	<-s.cloud.heldAt("load n2")
	s.killLeader("at load n2")
	release()
	if op = s.ended(op); op.State != "done" {
		t.Fatalf("operation %+v, %v", op, op.Error)
	}
	for m, h := range map[snapline.MemberName]snapline.HostName{"n1": "h2", "n2": "h3", "n3": "h1"} {
		if vm := s.cloud.find(h, m); vm == nil || vm.now() != "running, state of "+string(m) {
			t.Errorf("%s on %s is not what it was", m, h)
		}
	}
	s.mustTake()
}
