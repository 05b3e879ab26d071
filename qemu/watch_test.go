package qemu_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/snapline/snapline/qemu/qmp"
)

// watcher looks at a machine over its second monitor, whoever has the first.
type watcher struct{ client *qmp.Client }

func (m *machine) watch(t testing.TB) watcher {
	t.Helper()
	c, err := qmp.Dial(testContext(t), m.second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return watcher{c}
}

func (w watcher) running(t testing.TB) bool {
	t.Helper()
	st, err := qmp.Run(testContext(t), w.client, qmp.QueryStatus{})
	if err != nil {
		t.Fatal(err)
	}
	return st.Running
}

// guards lists the guard processes of this test program.
func guards(t testing.TB) []int {
	t.Helper()
	self, err := os.Stat("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, dir := range all {
		exe, err := os.Stat(filepath.Join(dir, "exe"))
		if err != nil || !os.SameFile(self, exe) {
			continue
		}
		line, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		if words := strings.Split(string(line), "\x00"); len(words) > 1 && words[1] == "guard" {
			pid, _ := strconv.Atoi(filepath.Base(dir))
			pids = append(pids, pid)
		}
	}
	return pids
}
