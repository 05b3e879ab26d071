package lab

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/snapline/snapline/lab/etcd"
)

// Three guests on three hosts form a cluster that a client in the switch's
// namespace can write to, and what it acknowledged is what the checker finds.
func TestEtcdCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("boots three virtual machines")
	}
	l := newLabUp(t, Options{Workload: Etcd})
	clients := l.EtcdClients()
	for _, c := range clients {
		defer c.Close()
	}
	before, err := etcd.ReadStatus(t.Context(), clients)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	var journal bytes.Buffer
	if err := etcd.Load(ctx, etcd.LoadOptions{Endpoints: l.EtcdEndpoints(), Dial: l.Switch().DialContext}, &journal); err != nil {
		t.Fatal(err)
	}
	j, err := etcd.ReadJournal(&journal)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d writes acknowledged in 5 s, longest gap %v; %s is leader",
		j.Acknowledged(time.Time{}), j.LongestGap(time.Time{}, time.Time{}), before.LeaderName())
	list, err := etcd.Verify(t.Context(), clients, etcd.Claim{Before: before, Journal: j, Began: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + list.String())
	if !list.OK() {
		t.Error("a cluster that nothing happened to does not pass the check")
	}
	// A machine that is killed is found dead, and the others elect or go on.
	if err := l.KillVM(t.Context(), "n2"); err != nil {
		t.Fatal(err)
	}
	if _, err := l.VMPid("n2"); err == nil {
		t.Error("n2 runs after KillVM")
	}
}
