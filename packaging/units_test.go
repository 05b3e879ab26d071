package packaging_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/snapline/snapline/cli"
)

var daemons = map[string]func() *cobra.Command{"agent": cli.NewAgentCommand, "coordinator": cli.NewCoordinatorCommand}

// TestFlagsExist: what the units and the examples give the daemons is known to
// them, and what the units take from the settings is in the examples.
func TestFlagsExist(t *testing.T) {
	for name, command := range daemons {
		unit, settings := read(t, "snapline-"+name+".service"), read(t, "snapline-"+name+".default")
		flags := command().Flags()
		for _, flag := range regexp.MustCompile(`--[a-z-]+`).FindAllString(execStart(t, unit)+settings, -1) {
			if slices.Contains([]string{"--now", "--local", "--repo", "--host", "--data"}, flag) { // of other commands, in comments
				continue
			}
			if flags.Lookup(flag[2:]) == nil {
				t.Errorf("snapline %s has no flag %s", name, flag)
			}
		}
		for _, v := range regexp.MustCompile(`\$\{?([A-Z]+)`).FindAllStringSubmatch(execStart(t, unit), -1) {
			if !strings.Contains(settings, "\n"+v[1]+"=") && !strings.Contains(settings, "\n#"+v[1]+"=") {
				t.Errorf("the example of %s has no %s", name, v[1])
			}
		}
	}
}

// TestUnitsSpareMachines: what would end virtual machines with their agent.
func TestUnitsSpareMachines(t *testing.T) {
	unit := read(t, "snapline-agent.service")
	for _, line := range []string{"KillMode=process", "OOMPolicy=continue"} {
		if !strings.Contains(unit, "\n"+line+"\n") {
			t.Errorf("the agent's unit lacks %s", line)
		}
	}
	for _, mounts := range []string{"PrivateTmp", "ProtectSystem", "ProtectHome", "PrivateDevices", "MemoryDenyWriteExecute", "RestrictRealtime"} {
		if strings.Contains(unit, "\n"+mounts+"=") {
			t.Errorf("%s would be forced on restored machines too", mounts)
		}
	}
}

// TestUnitsVerify has systemd judge the units, with a program that exists.
func TestUnitsVerify(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd is not installed here")
	}
	dir := t.TempDir()
	var files []string
	for name := range daemons {
		file := filepath.Join(dir, "snapline-"+name+".service")
		text := strings.Replace(read(t, filepath.Base(file)), "/usr/bin/snapline", "/bin/true", 1)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	out, err := exec.Command(analyze, append([]string{"verify", "--man=no"}, files...)...).CombinedOutput()
	if err != nil || strings.Contains(string(out), "snapline-") {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

// TestScripts has the shell read what dpkg will run.
func TestScripts(t *testing.T) {
	for _, name := range []string{"postinst", "prerm", "postrm"} {
		if out, err := exec.Command("sh", "-n", name).CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", name, err, out)
		}
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func execStart(t *testing.T, unit string) string {
	t.Helper()
	m := regexp.MustCompile(`(?m)^ExecStart=(.*)$`).FindStringSubmatch(unit)
	if m == nil {
		t.Fatal("no ExecStart")
	}
	return m[1]
}
