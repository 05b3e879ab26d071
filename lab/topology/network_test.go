package topology

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// labName is unique to this test process, and short.
func labName(suffix string) string { return fmt.Sprintf("t%d%s", os.Getpid(), suffix) }

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("network namespaces need root: run as root")
	}
	for _, tool := range []string{"ip", "nsenter"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%v: run: make deps", err)
		}
	}
}

func newNetwork(t *testing.T, n Network) Network {
	t.Helper()
	needRoot(t)
	t.Cleanup(func() {
		if err := Down(context.Background(), n.Name); err != nil {
			t.Error(err)
		}
		if left, err := Leftovers(n.Name); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v %v", left, err)
		}
	})
	if err := n.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestUpRefusesWhatExists(t *testing.T) {
	n := newNetwork(t, Network{Name: labName("a"), Hosts: 1})
	if err := n.Up(t.Context()); !errors.Is(err, ErrExists) {
		t.Fatalf("second Up: %v, want ErrExists", err)
	}
	if all, err := existing(n.Name); err != nil || len(all) != 2 {
		t.Fatalf("after the refusal: %v %v, want both namespaces untouched", all, err)
	}
}

// Two labs with the same addresses, one's name the beginning of the other's.
func TestLabsAreApart(t *testing.T) {
	a := newNetwork(t, Network{Name: labName("a"), Hosts: 2})
	b := newNetwork(t, Network{Name: labName("a-h1"), Hosts: 2})
	for _, n := range []Network{a, b} {
		got := exchange(t, n.Namespace("h2"), HostAddress(2), n.Namespace("h1"), n.Name)
		if got != n.Name {
			t.Errorf("h1 to h2 in %s: got %q", n.Name, got)
		}
	}
	if err := Down(t.Context(), a.Name); err != nil {
		t.Fatal(err)
	}
	if all, err := existing(b.Name); err != nil || len(all) != 3 {
		t.Fatalf("after Down of the other lab: %v %v", all, err)
	}
}

// Nothing passes a cable that was pulled, and everything one that is back.
func TestUnplug(t *testing.T) {
	n := newNetwork(t, Network{Name: labName("a"), Hosts: 2})
	h1, h2 := n.Namespace("h1"), n.Namespace("h2")
	if err := h2.Unplug(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	var l net.Listener
	if err := h2.Do(func() (err error) {
		l, err = net.Listen("tcp", net.JoinHostPort(HostAddress(2), "8"))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if c, err := h1.DialContext(ctx, "tcp", l.Addr().String()); err == nil {
		c.Close()
		t.Error("a host without a cable was reached")
	}
	if err := h2.Plug(); err != nil {
		t.Fatal(err)
	}
	if got := exchange(t, h2, HostAddress(2), h1, "back"); got != "back" {
		t.Errorf("got %q", got)
	}
}

// exchange sends text over TCP from one namespace to another's address.
func exchange(t *testing.T, server Namespace, address string, client Namespace, text string) string {
	t.Helper()
	var l net.Listener
	if err := server.Do(func() (err error) {
		l, err = net.Listen("tcp", net.JoinHostPort(address, "7"))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		if c, err := client.DialContext(t.Context(), "tcp", l.Addr().String()); err == nil {
			c.Write([]byte(text))
			c.Close()
		}
	}()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	buf := make([]byte, 100)
	n, _ := c.Read(buf)
	return string(buf[:n])
}

// The machine's own namespace must not see anything of the lab.
func TestMachineSeesNothing(t *testing.T) {
	before := interfaces(t)
	n := newNetwork(t, Network{Name: labName("a"), Hosts: 1})
	if after := interfaces(t); !slices.Equal(before, after) {
		t.Errorf("interfaces outside: before %v, with a lab %v", before, after)
	}
	var inside []string
	if err := n.Namespace("h1").Do(func() error { inside = interfaces(t); return nil }); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(inside, Bridge) || !slices.Contains(inside, uplink) {
		t.Errorf("interfaces of the host: %v", inside)
	}
}

func interfaces(t *testing.T) []string {
	t.Helper()
	all, err := net.Interfaces()
	if err != nil {
		t.Error(err)
	}
	var names []string
	for _, i := range all {
		names = append(names, i.Name)
	}
	slices.Sort(names)
	return names
}

func TestDownEndsProcesses(t *testing.T) {
	n := newNetwork(t, Network{Name: labName("a"), Hosts: 1})
	cmd := n.Namespace("h1").Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		left, err := Leftovers(n.Name)
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(left, func(s string) bool { return strings.Contains(s, "sleep 1000") }) {
			break
		}
		if t.Context().Err() != nil {
			t.Fatal("the process never showed in its namespace")
		}
	}
	if err := Down(t.Context(), n.Name); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil || cmd.ProcessState.String() != "signal: killed" {
		t.Errorf("the process ended with %v, want SIGKILL", err)
	}
}

func TestNames(t *testing.T) {
	for _, name := range []string{"", "UP", "a/b", strings.Repeat("x", MaxName+1)} {
		if err := (Network{Name: name, Hosts: 1}).Up(t.Context()); err == nil {
			t.Errorf("lab name %q was taken", name)
		}
	}
	for _, hosts := range []int{0, MaxHosts + 1} {
		if err := (Network{Name: labName("a"), Hosts: hosts}).Up(t.Context()); err == nil {
			t.Errorf("a lab of %d hosts was made", hosts)
		}
	}
}

// IPv6 is off unless it is asked for.
func TestIPv6(t *testing.T) {
	for want, on := range map[string]bool{"1": false, "0": true} {
		n := newNetwork(t, Network{Name: labName("v" + want), Hosts: 1, IPv6: on})
		err := n.Namespace("h1").Do(func() error {
			got, err := os.ReadFile("/proc/sys/net/ipv6/conf/" + Bridge + "/disable_ipv6")
			if err == nil && strings.TrimSpace(string(got)) != want {
				t.Errorf("IPv6 %v: disable_ipv6 is %q", on, got)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}
