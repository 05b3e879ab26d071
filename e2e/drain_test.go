package e2e

import (
	"bytes"
	"context"
	"slices"
	"testing"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/lab"
	"github.com/snapline/snapline/lab/etcd"
)

// A host is drained while somebody outside the group writes to it all the time. What
// the cluster has acknowledged to him it knows afterwards, whenever he was told.
//
//	go test ./e2e -run 'TestDrain$' -v
func TestDrain(t *testing.T) {
	s := newSite(t, lab.Options{})
	s.apply(t)
	clients := s.EtcdClients()
	for _, c := range clients {
		defer c.Close()
	}
	s.healthy(t, clients)
	for i, host := range []string{"h2", "h3"} {
		if !t.Run(host, func(t *testing.T) { s.drainUnderLoad(t, clients, host, i > 0) }) {
			return
		}
	}
}

func (s *site) healthy(t *testing.T, clients []*etcd.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := etcd.AwaitHealthy(ctx, clients); err != nil {
		t.Fatal(err)
	}
}

// drainUnderLoad drains a host of the group, of which there may be a snapshot, and
// gives it back.
func (s *site) drainUnderLoad(t *testing.T, clients []*etcd.Client, host string, known bool) {
	var lines bytes.Buffer
	ctx, stop := context.WithCancel(t.Context())
	loaded := make(chan error, 1)
	go func() {
		loaded <- etcd.Load(ctx, etcd.LoadOptions{Endpoints: s.EtcdEndpoints(), Dial: s.Switch().DialContext}, &lines)
	}()
	time.Sleep(2 * time.Second) // of writing before
	before := s.lastEvent(t)
	began := time.Now()
	var r snapline.DrainResult
	o := s.run(t, "drain", host, "--deadline", "2m", "--json")
	ended := time.Now()
	s.healthy(t, clients)
	time.Sleep(2 * time.Second) // and after
	stop()
	if err := <-loaded; err != nil {
		t.Fatal(err)
	}
	o.expect(t, 0)
	o.decode(t, &r)
	journal, err := etcd.ReadJournal(&lines)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Moved) != 1 {
		t.Fatalf("drained %+v", r)
	}
	m := r.Moved[0]
	t.Logf("%s was given back in %.1f s; silent for %.1f s, taken back %.1f s; %d writes acknowledged, %d of them while it was drained, longest gap %v",
		host, r.DurationMS/1000, m.SilentMS/1000, m.TakenBackMS/1000, journal.Acknowledged(time.Time{}),
		journal.Acknowledged(ended)-journal.Acknowledged(began), journal.LongestGap(began, time.Now()).Round(time.Millisecond))
	if m.TakenBackMS != 0 || m.SilentMS <= 0 || m.Reasons != nil {
		t.Errorf("moved %+v", m)
	}
	s.honours(t, clients, journal)
	if e := s.awaitEvent(t, time.Second, snapline.EventRestored, before); e.Lost != nil {
		t.Errorf("restored: %s, %+v", e.Text, e.Lost)
	} else {
		t.Log(e.Text)
	}
	snap, err := s.api.Snapshot(t.Context(), m.Snapshot)
	if err != nil {
		t.Fatal(err)
	}
	if v := snap.Verdict; v == nil || v.State != snapline.Consistent || v.Channel == nil || !v.Channel.Complete || v.Channel.InTransit != 0 {
		t.Errorf("the cut of a silent group: %+v", v)
	} else {
		t.Log(v.Text, v.Channel.Text)
	}
	s.everybodyRuns(t, snapline.HostName(host))
	s.mustRun(t, nil, "undrain", host)
	s.tidy(t)
}

// honours wants every acknowledged write of the journal to be there.
func (s *site) honours(t *testing.T, clients []*etcd.Client, journal etcd.Journal) {
	t.Helper()
	items, _, err := clients[0].Range(t.Context(), etcd.KeyPrefix)
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	for _, i := range items {
		there[i.Key] = true
	}
	var lost []etcd.Event
	acked := 0
	for _, e := range journal {
		if e.Kind != etcd.Ack {
			continue
		}
		acked++
		if !there[e.Key] {
			lost = append(lost, e)
		}
	}
	slices.SortFunc(lost, func(a, b etcd.Event) int { return a.At.Compare(b.At) })
	if len(lost) > 0 {
		t.Errorf("%d of %d acknowledged writes are gone, the first one acknowledged at %v, the last at %v", len(lost), acked, lost[0].At, lost[len(lost)-1].At)
	}
	if acked < 50 {
		t.Errorf("only %d writes were acknowledged", acked)
	}
}
