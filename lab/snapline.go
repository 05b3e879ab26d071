package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/snapline/snapline/lab/topology"
)

// coordinatorName is the coordinator's name among the daemons; agents have
// their hosts'.
const coordinatorName = "coordinator"

// controlAddress is where the coordinator listens for agents.
var controlAddress = net.JoinHostPort(topology.SwitchAddress, "4222")

// startTimeout is how long a daemon may take until it serves.
const startTimeout = 30 * time.Second

// initRepository makes the lab's own repository.
func (l *Lab) initRepository() error {
	at, key := l.Repository()
	if key != l.path(keyFileName) {
		return nil // somebody else's
	}
	if _, err := l.snapline("repo", "init", "--repo", at, "--key-file", key); err != nil {
		return fmt.Errorf("make repository %s: %w", at, err)
	}
	return nil
}

// snapline runs one of the program's commands beside the coordinator and returns
// what it prints.
func (l *Lab) snapline(args ...string) (string, error) {
	program := read(l, func(r *record) string { return r.Snapline })
	cmd := l.Switch().Command(program, args...)
	cmd.Env = append(append(os.Environ(), "SNAPLINE_SERVER="+l.Server()), l.Env()...)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("snapline %s: %w: %s", strings.Join(args, " "), err, said.String())
	}
	return string(out), nil
}

// initAuthority makes the certificate authority: the lab's hosts talk over a
// network, as real ones do.
func (l *Lab) initAuthority() error {
	_, err := l.snapline("init", "--data", l.path("coordinator"), "--out", l.path("operator.pem"))
	return err
}

// Credential is a host's certificate and key, once its agent has joined.
func (l *Lab) Credential(host string) string { return l.path(host, "credential.pem") }

// token returns the file with which a host joins; "" when it has joined.
func (l *Lab) token(host string) (string, error) {
	if _, err := os.Stat(l.Credential(host)); err == nil {
		return "", nil
	}
	token, err := l.snapline("token", "create", "--host", host)
	if err != nil {
		return "", err
	}
	path := l.path(host + ".token")
	return path, os.WriteFile(path, []byte(token), 0o600)
}

// StartCoordinator starts the coordinator in the switch's namespace and waits
// until its API takes connections, with further flags if there are some. Error if
// one runs already.
func (l *Lab) StartCoordinator(ctx context.Context, flags ...string) error {
	socket := l.path("api.sock")
	at, key := l.Repository()
	args := []string{"coordinator", "--listen", controlAddress, "--http", l.Server(), "--data", l.path("coordinator"), "--repo", at, "--key-file", key}
	if q := read(l, func(r *record) time.Duration { return r.Quarantine }); q > 0 {
		args = append(args, "--quarantine", q.String())
	}
	err := l.startDaemon(coordinatorName, l.Switch(), append(args, flags...)...)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	err = await(ctx, 50*time.Millisecond, func() error {
		if !l.DaemonAlive(coordinatorName) {
			cancel() // it will not serve any more
			return errors.New("the coordinator has ended")
		}
		c, err := net.Dial("unix", socket)
		if err == nil {
			c.Close()
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("start coordinator: %w; %s", err, tail(l.Log(coordinatorName)))
	}
	return nil
}

// StartAgent starts a host's agent, with further flags if there are some. Its
// first start needs the coordinator, for a token. Error if one runs already.
func (l *Lab) StartAgent(host string, flags ...string) error {
	if l.DaemonAlive(host) {
		return fmt.Errorf("start %s: it runs already", host)
	}
	token, err := l.token(host)
	if err != nil {
		return fmt.Errorf("let %s join: %w", host, err)
	}
	_, key := l.Repository()
	args := []string{"agent", "--name", host, "--join", controlAddress, "--data", l.path(host), "--key-file", key}
	if token != "" {
		args = append(args, "--token-file", token)
	}
	for _, h := range l.Hosts() {
		if h.Name != host { // their disks come here under another path, as between real hosts
			args = append(args, "--disk-dir", l.diskDir(h.Name)+"="+l.diskDir(host))
		}
	}
	return l.startDaemon(host, l.Place(host), append(args, flags...)...)
}

func (l *Lab) startDaemon(name string, ns topology.Namespace, args ...string) error {
	program := read(l, func(r *record) string { return r.Snapline })
	if program == "" {
		return fmt.Errorf("start %s: the lab was made without the snapline program", name)
	}
	if l.DaemonAlive(name) {
		return fmt.Errorf("start %s: it runs already", name)
	}
	if err := os.MkdirAll(l.path("log"), 0o755); err != nil {
		return err
	}
	id, err := detach(ns, l.Log(name), l.Env(), program, args...)
	if err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	return l.change(func(r *record) { r.Daemons[name] = id })
}

// DaemonPID is the process of "coordinator" or of a host's agent; 0 when it
// does not run.
func (l *Lab) DaemonPID(name string) int {
	id := read(l, func(r *record) identity { return r.Daemons[name] })
	if !id.alive() {
		return 0
	}
	return id.PID
}

// DaemonAlive reports whether "coordinator" or a host's agent runs.
func (l *Lab) DaemonAlive(name string) bool { return l.DaemonPID(name) != 0 }

// KillDaemon ends "coordinator" or a host's agent by SIGKILL.
func (l *Lab) KillDaemon(ctx context.Context, name string) error {
	return read(l, func(r *record) identity { return r.Daemons[name] }).kill(ctx)
}

// KillHost ends everything that runs on a host, its agent and its virtual
// machines, by SIGKILL, as a power failure does.
func (l *Lab) KillHost(ctx context.Context, host string) error {
	ns := l.Place(host)
	if !slices.ContainsFunc(l.Hosts(), func(h Host) bool { return h.Name == host }) {
		return fmt.Errorf("lab %s has no host %s", l.Name, host)
	}
	all, err := topology.Processes(l.Name)
	if err != nil {
		return err
	}
	var killing errgroup.Group
	for _, p := range all {
		if p.Namespace == ns {
			killing.Go(func() error { return p.Kill(ctx) })
		}
	}
	if err := killing.Wait(); err != nil {
		return fmt.Errorf("kill host %s: %w", host, err)
	}
	return nil
}
