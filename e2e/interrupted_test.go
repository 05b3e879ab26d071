package e2e

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/snapline/snapline"
)

// interrupted: Ctrl-C cancels the take.
func (f *faults) interrupted(t *testing.T) {
	for _, line := range []string{"prepare", "  n2 cut", "store"} {
		t.Run(strings.TrimSpace(line), func(t *testing.T) {
			before := f.listed(t)
			cmd := f.command(t, "take", string(f.group))
			stderr, err := cmd.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			var said []string
			for lines := bufio.NewScanner(stderr); lines.Scan(); {
				said = append(said, lines.Text())
				if lines.Text() == line {
					if err := cmd.Process.Signal(os.Interrupt); err != nil {
						t.Fatal(err)
					}
				}
			}
			err = cmd.Wait()
			if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != exitCancelled {
				t.Errorf("snapline take ended with %v, want exit status %d\n%s", err, exitCancelled, strings.Join(said, "\n"))
			}
			f.awaitUngated(t, gateLimit)
			f.unharmed(t)
			if now := f.listed(t); !slices.Equal(now, before) {
				t.Errorf("snapshots: %v, before %v", now, before)
			}
		})
	}
	f.recovers(t)
}

// busy: a second take while one runs is refused and does not disturb the first.
func (f *faults) busy(t *testing.T) {
	op := f.begin(t, snapline.Colour)
	f.until(t, op, moment{step: "ready"})
	o := f.run(t, "take", string(f.group), "--json")
	o.expect(t, exitBusy)
	t.Log(o.problem(t).Message)
	if end := f.end(t, op); end.Error != nil {
		t.Errorf("the first take: %v", end.Error)
	}
}
