package nats_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/snapline/snapline/nats"
)

// writerDir, when set, makes the test binary a process that writes into a store
// there until it is killed.
const writerDir = "SNAPLINE_NATS_TEST_WRITER_DIR"

func TestRestartKeepsValues(t *testing.T) {
	dir := t.TempDir()
	var revision uint64
	for round := range 3 {
		server := start(t, dir)
		c := dial(t, nats.DialOptions{InProcess: server})
		s := openStore(t, c)
		var err error
		revision, err = s.Swap(within(t), "round.etcd", fmt.Append(nil, round), revision)
		if err != nil {
			t.Fatalf("restart %d: %v", round, err)
		}
		if err := s.Put(within(t), fmt.Sprintf("n%d", round), nil); err != nil {
			t.Fatal(err)
		}
		keys, err := s.Keys(within(t), "n")
		if err != nil || len(keys) != round+1 {
			t.Fatalf("restart %d: keys %q, %v", round, keys, err)
		}
		c.Close()
		server.Shutdown()
	}
}

// TestPutSurvivesKill kills a process with SIGKILL between two Puts, three times,
// and looks for every value whose Put had returned.
func TestPutSurvivesKill(t *testing.T) {
	dir := t.TempDir()
	written := 0
	for range 3 {
		written = killWriter(t, dir, written+40)
		server := start(t, dir)
		c := dial(t, nats.DialOptions{InProcess: server})
		s := openStore(t, c)
		for i := range written {
			v, _, err := s.Get(within(t), fmt.Sprintf("k%d", i))
			if err != nil || string(v) != fmt.Sprint(i) {
				t.Fatalf("value %d of %d after SIGKILL: %q, %v", i, written, v, err)
			}
		}
		keys, err := s.Keys(within(t), "k")
		if err != nil || len(keys) < written || len(keys) > written+1 { // one Put may have been under way
			t.Fatalf("%d keys, %v; %d were written", len(keys), err, written)
		}
		written = len(keys)
		c.Close()
		server.Shutdown()
	}
}

// killWriter starts a writer, waits until it has written up to n values in all,
// kills it, and returns how many it had reported by then.
func killWriter(t *testing.T, dir string, n int) int {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), writerDir+"="+dir)
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	written := -1
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if _, err := fmt.Sscan(lines.Text(), &written); err != nil {
			t.Fatalf("the writer said %q", lines.Text())
		}
		if written == n {
			cmd.Process.Kill() // reads on: it may have reported more
		}
	}
	_ = cmd.Wait() // killed
	if written < n {
		t.Fatalf("the writer ended after %d values", written)
	}
	return written
}

// writeForEver puts k0, k1, … after those that are there, and prints their
// number after each Put that has returned.
func writeForEver(dir string) {
	ctx := context.Background()
	server, err := nats.StartServer(nats.ServerOptions{Dir: dir})
	check(err)
	c, err := nats.Dial(ctx, nats.DialOptions{InProcess: server, As: "coordinator"})
	check(err)
	s, err := nats.OpenStore(ctx, c, nats.StoreOptions{Bucket: "snapline"})
	check(err)
	keys, err := s.Keys(ctx, "k")
	check(err)
	for i := len(keys); ; i++ {
		check(s.Put(ctx, fmt.Sprintf("k%d", i), fmt.Append(nil, i)))
		fmt.Println(i + 1)
	}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
