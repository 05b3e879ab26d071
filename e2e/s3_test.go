package e2e

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/snapline/snapline/lab"
	"github.com/snapline/snapline/repository/blob/s3/s3test"
)

// TestS3 keeps snapshots on a real S3 server, which coordinator and agents
// reach over the lab's network, and brings VMs with disks back from there.
func TestS3(t *testing.T) {
	if testing.Short() {
		t.Skip("boots virtual machines")
	}
	program, err := s3test.Program()
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t, lab.Options{Workload: lab.Bank, Hosts: 2, MemMB: 192, DiskMB: 64, S3: program})
	s.apply(t)
	clients := s.BankClients()
	awaitMoney(t, 10*time.Second, clients, "tcp", 10)
	first := s.take(t)
	awaitMoney(t, 10*time.Second, clients, "tcp", 10)
	second := s.take(t)
	for i, m := range second.Members {
		if m.StoredBytes > first.Members[i].StoredBytes/2 {
			t.Errorf("%s: %d bytes were stored, after %d some seconds before", m.Name, m.StoredBytes, first.Members[i].StoredBytes)
		}
	}
	s.mustRun(t, nil, "delete", string(first.ID))
	s.mustRun(t, nil, "repo", "prune")
	s.inSwitch(t, "verify", string(second.ID), "--deep")

	s.killVMs(t)
	s.restore(t, second.ID, "n1=h2,n2=h1")
	awaitMoney(t, drainLimit, clients, "tcp", 3)
	audit(t, clients)
	s.tidy(t)
}

// inSwitch runs snapline where the S3 server can be reached.
func (s *site) inSwitch(t *testing.T, args ...string) {
	t.Helper()
	at, key := s.Lab.Repository()
	args = append([]string{"--net=" + s.Switch().Path(), "--", "env"}, append(s.Env(), append([]string{snaplineProgram()}, append(args, "--repo", at, "--key-file", key)...)...)...)
	out, err := exec.Command("nsenter", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	t.Logf("%s", out)
}
