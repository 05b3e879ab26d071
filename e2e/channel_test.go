package e2e

import (
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/evidence"
	"github.com/snapline/snapline/lab"
	"github.com/snapline/snapline/lab/bank"
)

// TestChannel moves money by datagrams that nobody acknowledges or repeats. A
// snapshot has some of them in transit: a restore loses these, and one with
// --replay-channel loses nothing.
//
// In the running group a take loses what the shields withhold. So a timeline with
// a take in it is never audited: each attempt begins again from a snapshot that
// was taken while nothing moved.
func TestChannel(t *testing.T) {
	s := newSite(t, lab.Options{Workload: lab.Datagrams, MemMB: 192, Quarantine: time.Second})
	s.apply(t)
	clients := s.BankClients()
	awaitMoney(t, 10*time.Second, clients, "datagram", 10)
	audit(t, clients)
	quiesce(t, clients)
	calm := s.take(t)
	resume(t, clients)

	taken, datagrams := s.takeInTransit(t, calm.ID, clients)
	s.killVMs(t)
	s.restore(t, taken.ID, "n1=h2,n2=h3,n3=h1")
	awaitMoney(t, drainLimit, clients, "tcp", 3)
	if lost := s.lost(t, clients); lost != datagrams {
		t.Errorf("%d datagrams are lost without a replay, %d were in transit", lost, datagrams)
	}

	s.killVMs(t)
	r := s.restore(t, taken.ID, "n1=h3,n2=h1,n3=h2", "--replay-channel")
	if r.Replayed == nil || *r.Replayed != taken.Verdict.Channel.Kept {
		t.Errorf("%+v, of %+v", r, taken.Verdict.Channel)
	}
	awaitMoney(t, drainLimit, clients, "tcp", 3)
	audit(t, clients)
	s.tidy(t)

	s.refusesIncomplete(t)
}

// takeInTransit takes until datagrams cross the cut, all known, and says how many.
func (s *site) takeInTransit(t *testing.T, calm snapline.SnapshotID, clients []*bank.Client) (snapline.TakeResult, int) {
	t.Helper()
	for range attempts {
		awaitMoney(t, drainLimit, clients, "datagram", 5)
		r := s.take(t)
		c := r.Verdict.Channel
		n := s.datagrams(t, r.ID)
		t.Log(r.Verdict.Text, "|", c.Text, c.Reasons, n, "datagrams")
		if c.Complete && n > 0 {
			return r, n
		}
		s.restore(t, calm, "")
		resume(t, clients)
	}
	t.Fatalf("of %d takes none had all of some datagrams in transit", attempts)
	panic("unreachable")
}

// datagrams counts the packets of the flows that nobody acknowledges, of those
// that were in transit.
func (s *site) datagrams(t *testing.T, id snapline.SnapshotID) int {
	t.Helper()
	path := filepath.Join(t.TempDir(), "out.pcapng")
	s.mustRun(t, nil, "show", string(id), "--pcap", path, "--repo", s.repository(), "--key-file", s.keyFile())
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	frames, err := evidence.ReadPcapng(b)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, f := range frames {
		if len(f.Data) >= 42 && f.Data[23] == 17 && binary.BigEndian.Uint16(f.Data[36:]) == 7075 {
			n++
		}
	}
	return n
}

// lost counts the datagrams that were sent and have not arrived a while after
// nobody sends any more.
func (s *site) lost(t *testing.T, clients []*bank.Client) int {
	t.Helper()
	r, err := bank.Audit(t.Context(), clients, 3*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	var sent, got uint64
	for _, m := range r.Members {
		for _, f := range m.Out {
			if f.Transport == "datagram" {
				sent += f.Transfers
			}
		}
		for _, f := range m.In {
			if f.Transport == "datagram" {
				got += f.Transfers
			}
		}
	}
	if r.OK() {
		t.Error("the audit of a group that has lost money passes")
	}
	return int(sent - got)
}

// refusesIncomplete takes by barrier, which records nothing, and wants the refusal
// to leave everything alone.
func (s *site) refusesIncomplete(t *testing.T) {
	t.Helper()
	r := s.take(t, "--cut", "barrier")
	before := s.pids(t)
	o := s.run(t, "restore", string(r.ID), "--replay-channel")
	o.expect(t, exitRefused)
	if !strings.Contains(o.stderr, "no packets in transit were recorded") {
		t.Error(o.stderr)
	}
	s.untouched(t, before)
}

func quiesce(t *testing.T, clients []*bank.Client) {
	t.Helper()
	for _, c := range clients {
		if _, err := c.Quiesce(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// resume waits for members that were just restored.
func resume(t *testing.T, clients []*bank.Client) {
	t.Helper()
	for _, c := range clients {
		await(t, drainLimit, "money moves again", func(ctx context.Context) error { return c.Resume(ctx) })
	}
}
