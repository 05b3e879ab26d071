package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestMain lets the test binary also play the programs that the tests need:
// snapline's daemons, and a process that brings a lab up and is then killed.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "coordinator":
			playCoordinator()
		case "agent":
			select {}
		case "repo", "init", "token":
			os.Exit(0)
		case "up":
			playUp(os.Args[2])
		default:
			if !strings.HasPrefix(os.Args[1], "-test.") { // it would run the tests, which start it again
				fmt.Fprintln(os.Stderr, "nobody plays", os.Args[1:])
				os.Exit(2)
			}
		}
	}
	os.Exit(m.Run())
}

func playCoordinator() {
	for i, a := range os.Args {
		if a == "--http" {
			if _, err := net.Listen("unix", strings.TrimPrefix(os.Args[i+1], "unix://")); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		}
	}
	select {}
}

func playUp(name string) {
	self, _ := os.Executable()
	_, err := Up(context.Background(), Options{Name: name, Hosts: 2, Workload: Idle, Snapline: self}, func(s string) { fmt.Println(s) })
	fmt.Println("up returned", err)
	os.Exit(1)
}

// reserve returns a name for a lab and sees to it that nothing of it is left
// when the test has ended.
func reserve(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("a lab makes network namespaces: run as root")
	}
	for _, tool := range []string{"ip", "nsenter", "qemu-system-x86_64"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%v: run: make deps", err)
		}
	}
	name := fmt.Sprintf("t%d-%x", os.Getpid(), time.Now().UnixNano()&0xffffff)
	t.Cleanup(func() {
		if err := Down(context.Background(), name); err != nil {
			t.Error(err)
		}
		if left, err := Leftovers(name); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v %v", left, err)
		}
	})
	return name
}

// newLabUp brings a lab up that goes with the test.
func newLabUp(t *testing.T, o Options) *Lab {
	t.Helper()
	o.Name = reserve(t)
	start := time.Now()
	l, err := Up(t.Context(), o, func(s string) { t.Logf("%5.1f s  %s", time.Since(start).Seconds(), s) })
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestUpStartsDaemons(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "lab")
	up := newLabUp(t, Options{Hosts: 2, Workload: None, Snapline: self, Dir: dir})
	l, err := Open(up.Name)
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Daemons) != 3 || s.State != "up" || s.Dir != dir || s.Problem != "" {
		t.Fatalf("status %+v", s)
	}
	for _, d := range s.Daemons {
		if d.PID == 0 {
			t.Errorf("%s does not run", d.Name)
		}
	}
	// A second lab of the name is refused and changes nothing.
	if _, err := Up(t.Context(), Options{Name: l.Name, Workload: None}, nil); !errors.Is(err, ErrExists) {
		t.Errorf("second Up: %v, want ErrExists", err)
	}
	if err := l.StartAgent("h2"); err == nil {
		t.Error("a second agent was started on h2")
	}
	if err := l.KillDaemon(t.Context(), "h2"); err != nil || l.DaemonAlive("h2") {
		t.Fatalf("kill agent: %v", err)
	}
	if err := l.StartAgent("h2"); err != nil || !l.DaemonAlive("h2") {
		t.Fatalf("start agent again: %v", err)
	}
	if err := up.Down(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("folder after Down: %v", err)
	}
	if _, err := Open(up.Name); !errors.Is(err, ErrNotFound) {
		t.Errorf("Open after Down: %v, want ErrNotFound", err)
	}
}

// A failed Up says why and leaves nothing.
func TestUpFails(t *testing.T) {
	for program, want := range map[string]string{"/bin/false": "make repository", "/bin/true": "coordinator"} {
		name := reserve(t)
		_, err := Up(t.Context(), Options{Name: name, Hosts: 1, Workload: None, Snapline: program}, nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Up with %s: %v, want a word of %s", program, err, want)
		}
		if left, err := Leftovers(name); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v %v", left, err)
		}
	}
}

// One at a time: whoever comes second is told, and the first goes on.
func TestUpIsLocked(t *testing.T) {
	name := reserve(t)
	unlock, err := lock(name)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if _, err := Up(t.Context(), Options{Name: name, Workload: None}, nil); !errors.Is(err, ErrBusy) {
		t.Errorf("Up beside another: %v, want ErrBusy", err)
	}
	if err := Down(t.Context(), name); !errors.Is(err, ErrBusy) {
		t.Errorf("Down beside Up: %v, want ErrBusy", err)
	}
	unlock()
}

// The process that brings the lab up dies by SIGKILL while virtual machines
// boot; Down in another process finds everything.
func TestDownAfterUpWasKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("boots virtual machines")
	}
	name := reserve(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "up", name)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := readUntil(out, "waiting for idle")
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	left, err := Leftovers(name)
	if err != nil {
		t.Fatal(err)
	}
	processes := 0
	for _, s := range left {
		if strings.HasPrefix(s, "process") {
			processes++
		}
	}
	if processes != 5 {
		t.Errorf("it left %d processes, want coordinator, 2 agents and 2 virtual machines:\n%s\nit had said:\n%s", processes, strings.Join(left, "\n"), said)
	}
	if err := Down(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if left, err := Leftovers(name); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func readUntil(r interface{ Read([]byte) (int, error) }, word string) string {
	var said strings.Builder
	for buf := make([]byte, 1000); !strings.Contains(said.String(), word); {
		n, err := r.Read(buf)
		said.Write(buf[:n])
		if err != nil {
			break
		}
	}
	return said.String()
}

func TestOptions(t *testing.T) {
	for _, o := range []Options{
		{}, {Name: "A"}, {Name: "a", Hosts: 11}, {Name: "a", VMs: 21}, {Name: "a", Workload: "redis"}, {Name: "a", MemMB: 64},
	} {
		if err := o.complete(); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
	o := Options{Name: "a"}
	if err := o.complete(); err != nil || o.Hosts != 3 || o.VMs != 3 || o.Workload != Etcd || o.MemMB != 256 {
		t.Errorf("defaults: %+v, %v", o, err)
	}
}
