package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"os/exec"
	"testing"

	"github.com/snapline/snapline"
)

// Exit statuses of the command line that the tests expect; `snapline
// exit-codes` documents them.
const (
	exitOK        = 0
	exitInvalid   = 2
	exitRefused   = 3
	exitBusy      = 5
	exitDamaged   = 7
	exitCancelled = 130
)

// outcome is how a command of the user's ended.
type outcome struct {
	args           []string
	status         int
	stdout, stderr string
}

// command is a snapline command as a user types it, who has set
// SNAPLINE_SERVER.
func (s *site) command(t *testing.T, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), snaplineProgram(), args...)
	cmd.Env = append(cmd.Environ(), "SNAPLINE_SERVER="+s.Server())
	return cmd
}

// run runs one to its end.
func (s *site) run(t *testing.T, args ...string) outcome {
	t.Helper()
	cmd := s.command(t, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatalf("snapline %v: %v", args, err)
	}
	return outcome{args, cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

// mustRun runs one that has to succeed and returns its --json answer in into,
// which may be nil.
func (s *site) mustRun(t *testing.T, into any, args ...string) {
	t.Helper()
	o := s.run(t, append(args, "--json")...)
	o.expect(t, exitOK)
	if into != nil {
		o.decode(t, into)
	}
}

// decode reads the --json answer.
func (o outcome) decode(t *testing.T, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(o.stdout), into); err != nil {
		t.Fatalf("snapline %v: %v in %s%s", o.args, err, o.stdout, o.stderr)
	}
}

// expect fails the test unless the command ended so.
func (o outcome) expect(t *testing.T, status int) {
	t.Helper()
	if o.status != status {
		t.Fatalf("snapline %v: exit status %d, want %d\n%s%s", o.args, o.status, status, o.stdout, o.stderr)
	}
}

// problem is the error that a command with --json has printed, its last line.
func (o outcome) problem(t *testing.T) snapline.Error {
	t.Helper()
	lines := bytes.Split(bytes.TrimSpace([]byte(o.stderr)), []byte("\n"))
	var e snapline.Error
	if err := json.Unmarshal(lines[len(lines)-1], &e); err != nil {
		t.Fatalf("snapline %v: the last line of stderr is no error: %v\n%s", o.args, err, o.stderr)
	}
	return e
}
