package cli_test

import (
	"bytes"
	"context"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"github.com/snapline/snapline/cli"
)

// TestTrustScripts runs the verbs against a real coordinator that has an
// authority, on loopback.
func TestTrustScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/trust", UpdateScripts: *update,
		Setup: func(e *testscript.Env) error {
			e.Setenv("TZ", "UTC")
			e.Setenv(withCoordinator, "yes")
			e.Setenv("HOME", e.WorkDir+"/home")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "private": private, "coordinator": coordinator, "denied": denied,
		},
	})
}

// private checks that files are for their owner only.
func private(ts *testscript.TestScript, _ bool, files []string) {
	for _, f := range files {
		st, err := os.Stat(ts.MkAbs(f))
		ts.Check(err)
		if st.Mode().Perm() != 0o600 {
			ts.Fatalf("%s has mode %v", f, st.Mode())
		}
	}
}

// coordinator starts one on loopback for the rest of the script, with the
// script's data, repo and key, and sets SNAPLINE_SERVER and HTTP.
func coordinator(ts *testscript.TestScript, _ bool, _ []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	http := l.Addr().String()
	ts.Check(l.Close())
	ctx, cancel := context.WithCancel(context.Background())
	var said bytes.Buffer // read when it has ended
	ended := make(chan int, 1)
	go func() {
		ended <- cli.Run(ctx, cli.Deps{Stdin: os.Stdin, Stdout: &said, Stderr: &said, Env: os.LookupEnv, Extra: []*cobra.Command{cli.NewCoordinatorCommand()}},
			[]string{"coordinator", "--listen", "127.0.0.1:0", "--http", http, "--http", "unix://" + ts.MkAbs("data/api.sock"),
				"--data", ts.MkAbs("data"), "--repo", ts.MkAbs("repo"), "--key-file", ts.MkAbs("key")})
	}()
	ts.Defer(func() {
		cancel()
		if status := <-ended; status != 0 {
			ts.Fatalf("the coordinator ended with status %d: %s", status, &said)
		}
	})
	ts.Setenv("HTTP", http)
	ts.Setenv("SNAPLINE_SERVER", "https://"+http)
	late := time.After(time.Minute)
	for {
		c, err := net.Dial("unix", ts.MkAbs("data/api.sock"))
		if err == nil {
			c.Close()
			return
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case status := <-ended:
			ended <- status
			ts.Fatalf("the coordinator has ended: %s", &said)
		case <-late:
			ts.Fatalf("the coordinator does not serve: %v", err)
		}
	}
}

// denied checks that each of some command lines is refused to whoever asks:
// denied 'take g' 'delete g-1'.
func denied(ts *testscript.TestScript, _ bool, args []string) {
	for _, line := range args {
		exits(ts, false, append([]string{"8", "snapline"}, strings.Fields(line)...))
	}
}
