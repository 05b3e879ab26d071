package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/lab"
)

// TestProof has real cuts prove themselves; then one shield stays down on
// purpose, and the verdict must say so.
func TestProof(t *testing.T) {
	s := newSite(t, lab.Options{Workload: lab.Bank, MemMB: 192})
	s.apply(t)
	clients := s.BankClients()
	awaitMoney(t, 10*time.Second, clients, "tcp", 10)
	r := s.proven(t)
	s.showsPackets(t, r.ID)

	if err := s.KillDaemon(t.Context(), "h2"); err != nil {
		t.Fatal(err)
	}
	if err := s.StartAgent("h2", "--test-lower-shield"); err != nil {
		t.Fatal(err)
	}
	s.awaitAgents(t)
	id := s.broken(t)
	o := s.run(t, "verify", string(id), "--repo", s.repository(), "--key-file", s.keyFile())
	o.expect(t, exitDamaged)
	if !strings.Contains(o.stderr, "orphan") || !strings.Contains(o.stderr, "n2") {
		t.Errorf("verify names no orphan of n2: %s", o.stderr)
	}
	before := s.pids(t)
	s.run(t, "restore", string(id)).expect(t, exitDamaged)
	s.untouched(t, before)
	awaitMoney(t, drainLimit, clients, "tcp", 3)
	audit(t, clients)
	s.tidy(t)
}

// attempts bounds the takes until one has what the test is about: whether a
// packet crosses the cut within some milliseconds is chance.
const attempts = 20

// proven takes until a cut with packets on both sides of it is proven, and lets
// none be inconsistent.
func (s *site) proven(t *testing.T) snapline.TakeResult {
	t.Helper()
	for range attempts {
		r := s.take(t)
		t.Log(r.Verdict.Text)
		if r.Verdict.State == snapline.Inconsistent {
			t.Fatalf("%+v", r.Verdict)
		}
		if r.Verdict.State == snapline.Consistent && r.Verdict.Withheld > 0 && r.Verdict.Flows > 1 {
			s.mustRun(t, nil, "verify", string(r.ID), "--repo", s.repository(), "--key-file", s.keyFile())
			return r
		}
	}
	t.Fatalf("of %d takes none was proven and had a packet withheld", attempts)
	panic("unreachable")
}

// broken takes until an orphan crosses the cut.
func (s *site) broken(t *testing.T) snapline.SnapshotID {
	t.Helper()
	for range attempts {
		var r snapline.TakeResult
		o := s.run(t, "take", string(s.group), "--json")
		o.decode(t, &r)
		t.Log(r.Verdict.Text, r.Verdict.Reasons)
		if r.Verdict.State != snapline.Inconsistent {
			o.expect(t, 0)
			continue
		}
		o.expect(t, exitDamaged)
		named := func(why string) bool {
			return strings.Contains(why, "orphan") && strings.Contains(why, "n2 received it")
		}
		if r.Verdict.Orphans == 0 || !slices.ContainsFunc(r.Verdict.Reasons, named) {
			t.Errorf("%+v", r.Verdict)
		}
		return r.ID
	}
	t.Fatalf("the shield of n2 is down, and none of %d verdicts was inconsistent", attempts)
	panic("unreachable")
}

// showsPackets writes the packets in transit, which tshark must be able to read.
func (s *site) showsPackets(t *testing.T, id snapline.SnapshotID) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "out.pcapng")
	s.mustRun(t, nil, "show", string(id), "--pcap", path, "--repo", s.repository(), "--key-file", s.keyFile())
	out, err := exec.Command("tshark", "-r", path).CombinedOutput()
	if err != nil {
		t.Errorf("tshark: %v: %s (make deps)", err, out)
	}
	if st, err := os.Stat(path); err != nil || st.Size() == 0 {
		t.Errorf("%v, %v", st, err)
	}
	t.Logf("in transit:\n%s", out)
}

func (s *site) keyFile() string {
	_, key := s.Lab.Repository()
	return key
}
