package cli_test

import (
	"context"
	"errors"
	"flag"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/api"
	"github.com/snapline/snapline/api/apitest"
	"github.com/snapline/snapline/cli"
)

// withCoordinator, when set, makes the program one that has the coordinator, too.
const withCoordinator = "SNAPLINE_TEST_COORDINATOR"

var update = flag.Bool("update", false, "rewrite what the scripts expect")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"snapline": func() {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		context.AfterFunc(ctx, stop)
		d := cli.Deps{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Env: os.LookupEnv}
		if os.Getenv(withCoordinator) != "" {
			d.Extra = []*cobra.Command{cli.NewCoordinatorCommand()}
		}
		os.Exit(cli.Run(ctx, d, os.Args[1:]))
	}})
}

func TestScripts(t *testing.T) {
	runScripts(t, "testdata/script", func(*testscript.Env) {})
}

func runScripts(t *testing.T, dir string, setup func(*testscript.Env)) {
	testscript.Run(t, testscript.Params{
		Dir:           dir,
		UpdateScripts: *update,
		Setup: func(e *testscript.Env) error {
			setup(e)
			e.Values[siteKey{}] = &site{}
			e.Setenv("TZ", "UTC")
			e.Setenv("SNAPLINE_SERVER", "unix://"+e.WorkDir+"/no.sock")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"serve":   serve,
			"held":    held,
			"release": release,
			"await":   await,
			"pruning": pruning,
			"exits":   exits,
			"golden":  golden,
			"store":   store,
			"flip":    flip,
		},
	})
}

// site is a script's coordinator.
type site struct{ fake *apitest.Fake }

type siteKey struct{}

// serve starts a coordinator that is a fake, for the rest of the script:
//
//	serve [hold] [refuse] [ill] [stop-and-copy] [repository=ID@LOCATION] [fail=METHOD:CODE]...
func serve(ts *testscript.TestScript, _ bool, args []string) {
	clock := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	o := apitest.Options{Now: func() time.Time { return clock }}
	faults := map[string]error{}
	for _, arg := range args {
		switch key, value, _ := strings.Cut(arg, "="); key {
		case "hold":
			o.Hold = true
		case "refuse":
			o.Fail = refused
		case "ill":
			o.Ill = &snapline.Finding{Check: "gate", State: snapline.FindingProblem, Text: "no gate can be attached", Hint: "upgrade to Linux 6.6"}
		case "stop-and-copy":
			o.Method, o.Why = "stop-and-copy", "this kernel has no userfaultfd write protection"
		case "repository":
			o.Repository.ID, o.Repository.Location, _ = strings.Cut(value, "@")
		case "fail":
			method, code, _ := strings.Cut(value, ":")
			faults[method] = &snapline.Error{Code: snapline.Code(code), Message: "as the script wants", Hint: "change the script"}
		default:
			ts.Fatalf("serve: unknown argument %q", arg)
		}
	}
	fake := apitest.New(o)
	addr := "unix://" + ts.MkAbs("snapline.sock")
	l, err := api.Listen(addr)
	ts.Check(err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- api.Serve(ctx, l, apitest.Fault{Service: fake, Errors: faults}) }()
	ts.Setenv("SNAPLINE_SERVER", addr)
	ts.Value(siteKey{}).(*site).fake = fake
	ts.Defer(func() {
		fake.Close()
		cancel()
		if err := <-done; err != nil {
			ts.Fatalf("serve: %v", err)
		}
	})
}

var refused = &snapline.Error{Code: snapline.CodeRefused, Message: "group twins cannot be snapshotted now; nothing was touched",
	Reasons: []snapline.Reason{
		{Member: "n1", Host: "h1", Text: "disk vda is writable", Hint: "start the VM with snapshot=on"},
		{Member: "n2", Host: "h2", Text: "no agent of this host is online"},
	}, Hint: "mend these and take again"}

// held waits until an operation waits for release.
func held(ts *testscript.TestScript, _ bool, _ []string) {
	select {
	case <-ts.Value(siteKey{}).(*site).fake.Held():
	case <-time.After(time.Minute):
		ts.Fatalf("no operation came to be held")
	}
}

// await waits until a file that a command writes to has a text in it.
func await(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: await FILE TEXT")
	}
	late := time.After(time.Minute)
	for {
		b, err := os.ReadFile(ts.MkAbs(args[0]))
		if err == nil && strings.Contains(string(b), args[1]) {
			return
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-late:
			ts.Fatalf("%s does not say %q: %q, %v", args[0], args[1], b, err)
		}
	}
}

// pruning waits until a prune, the second operation, says that it waits.
func pruning(ts *testscript.TestScript, _ bool, _ []string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	fake := ts.Value(siteKey{}).(*site).fake
	for ctx.Err() == nil {
		steps, err := fake.Progress(ctx, "prune-2", 0)
		if err != nil {
			select { // it has not begun
			case <-time.After(10 * time.Millisecond):
			case <-ctx.Done():
			}
			continue
		}
		for p := range steps {
			if p.Phase == "wait" {
				return
			}
		}
	}
	ts.Fatalf("no prune came to wait")
}

func release(ts *testscript.TestScript, _ bool, _ []string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	ts.Check(ts.Value(siteKey{}).(*site).fake.Release(ctx))
}

// exits runs a command and checks its exit status: exits 2 snapline …
func exits(ts *testscript.TestScript, _ bool, args []string) {
	want := args[0]
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	if failed := (*exec.ExitError)(nil); errors.As(err, &failed) {
		got = failed.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(got) != want {
		ts.Fatalf("exit status %d, want %s", got, want)
	}
}
