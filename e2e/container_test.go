package e2e

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/snapline/snapline/lab/topology"
)

// container is a machine with systemd as its first process: this machine's files
// beneath an overlay, with none of its enabled units and settings, on a host of a
// network of its own.
type container struct {
	topology.Network // whose name the container's cgroup has too
	host             topology.Namespace
	log              string // what the console said
}

//go:embed container.sh
var containerScript string

// noOverlay is the script's exit status where files cannot be had.
const noOverlay = 77

// newContainer boots one, and sees to it that nothing of it is left when the test
// ends, even by a panic: what a container needs ends with the script that started
// it, and the script with its standard input.
func newContainer(t *testing.T) *container {
	t.Helper()
	for _, tool := range []string{"systemd-nspawn", "unshare", "nsenter", "ip"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%v: run: make deps", err)
		}
	}
	network := topology.Network{Name: fmt.Sprintf("e%d-systemd", os.Getpid()), Hosts: 1}
	c := &container{Network: network, host: network.Namespace(topology.HostName(1)), log: filepath.Join(t.TempDir(), "console")}
	t.Cleanup(func() {
		if err := topology.Down(context.Background(), c.Name); err != nil {
			t.Error(err)
		}
		if left, err := topology.Leftovers(c.Name); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v %v", left, err)
		}
	})
	if err := c.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.start(t)
	c.awaitBoot(t, 0)
	return c
}

// start starts the script.
func (c *container) start(t *testing.T) {
	t.Helper()
	console, err := os.Create(c.log)
	if err != nil {
		t.Fatal(err)
	}
	defer console.Close()
	cmd := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-e", "-c", containerScript, "container",
		c.Name, string(c.host), string(c.Switch()))
	cmd.Stdout, cmd.Stderr = console, console
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // it clears away after a Ctrl-C too
	leash, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		leash.Close()
		if err := cmd.Wait(); err != nil && cmd.ProcessState.ExitCode() != noOverlay {
			t.Errorf("end of the container: %v\n%s", err, c.said())
		}
	})
}

func (c *container) said() []byte {
	b, _ := os.ReadFile(c.log) // for a message
	return b
}

// init is the container's first process; 0 when it has none.
func (c *container) init() int {
	all, err := topology.Processes(c.Name)
	if err != nil {
		return 0
	}
	for _, p := range all {
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID)) // of one that has ended: nothing
		for line := range strings.Lines(string(status)) {
			if pids, ok := strings.CutPrefix(line, "NSpid:"); ok && strings.HasSuffix(strings.TrimSpace(pids), "\t1") {
				return p.PID
			}
		}
	}
	return 0
}

// awaitBoot waits until everything that starts at boot has started, in another
// life than the one of process before, and returns the new one's first process.
func (c *container) awaitBoot(t *testing.T, before int) int {
	t.Helper()
	var pid int
	await(t, time.Minute, "the container's boot", func(ctx context.Context) error {
		said := c.said()
		if bytes.Contains(said, []byte("no overlay")) {
			t.Skipf("a container's files cannot be had here: %s", said)
		}
		if pid = c.init(); pid == 0 || pid == before {
			return fmt.Errorf("it has no first process: %s", said)
		}
		out, err := c.command(ctx, "systemctl", "is-system-running", "--wait").CombinedOutput()
		if state := strings.TrimSpace(string(out)); state != "running" && state != "degraded" {
			return fmt.Errorf("%s, %v", state, err)
		}
		return nil
	})
	return pid
}

// command is a command inside the container, of root's.
func (c *container) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "nsenter", append([]string{"-t", strconv.Itoa(c.init()), "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w", "--"}, args...)...)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8"}
	return cmd
}

// typedLimit bounds what is typed into a container: storing at idle priority takes
// its time on a machine that has other things to do.
const typedLimit = 5 * time.Minute

// try has root's shell do something in the container.
func (c *container) try(t *testing.T, line string) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), typedLimit) // after a test has failed, too
	defer cancel()
	cmd := c.command(ctx, "sh", "-e", "-c", line)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatalf("%s: %v", line, err)
	}
	return outcome{[]string{line}, cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

// do is try of what has to succeed; it returns the output without the white space around.
func (c *container) do(t *testing.T, line string) string {
	t.Helper()
	o := c.try(t, line)
	o.expect(t, exitOK)
	return strings.TrimSpace(o.stdout)
}

// path is where a file of the container's is outside of it.
func (c *container) path(file string) string {
	return filepath.Join(fmt.Sprintf("/proc/%d/root", c.init()), file)
}

// copyIn copies a file of this machine's into the container.
func (c *container) copyIn(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.path(to), b, 0o644); err != nil {
		t.Fatal(err)
	}
}
