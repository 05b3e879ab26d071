package diagram

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/snapline/snapline/evidence"
)

// TestInBrowser opens pages in Chromium and uses them. SNAPLINE_SCREENSHOTS names
// a folder to put pictures of them into.
func TestInBrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: needs Chromium and Node")
	}
	for _, tool := range []string{"chromium", "node"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%v; run: make deps", err)
		}
	}
	if _, err := os.Stat("../web/node_modules/playwright-core"); err != nil {
		t.Fatalf("%v; run: make deps", err)
	}
	dir := t.TempDir()
	empty := &evidence.Diagram{Version: evidence.DiagramVersion, State: evidence.Unproven, Verdict: "unproven: no trace", Members: []evidence.Lane{}, Classes: []string{}, Flows: []string{}}
	for name, d := range map[string]*evidence.Diagram{
		"pair": pair(), "hostile": hostile(), "empty": empty,
		"small":  cluster{members: 3, packets: 400}.diagram(),
		"orphan": cluster{members: 3, packets: 400, noShield: true}.diagram(),
		"large":  cluster{members: 16, packets: 20000}.diagram(),
	} {
		title := "Snapshot " + name
		if name == "hostile" {
			title = d.Verdict
		}
		page := write(t, d, title)
		t.Logf("%s: %d bytes; %s", name, len(page), d.Verdict)
		if err := os.WriteFile(filepath.Join(dir, name+".html"), []byte(page), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	args := []string{"test/browser.mjs", dir}
	if pictures := os.Getenv("SNAPLINE_SCREENSHOTS"); pictures != "" {
		pictures, err := filepath.Abs(pictures)
		if err != nil {
			t.Fatal(err)
		}
		args = append(args, pictures)
	}
	// It takes some 10 s of processor time. Interrupted, it closes the browser, which
	// keeps its files in the test's folder.
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", args...)
	cmd.Dir = "../web"
	cmd.Env = append(os.Environ(), "HOME="+dir, "TMPDIR="+dir)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	t.Logf("%s", strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
}
