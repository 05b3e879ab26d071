package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/lab"
)

const exitDenied = 8

// TestTrust lets hosts join over a network, shuts one out, lets it in again, and
// waits for certificates to renew.
func TestTrust(t *testing.T) {
	s := newSite(t, lab.Options{Workload: lab.None, Hosts: 2})
	t.Run("strangers", s.strangers)
	t.Run("revoked", s.revoked)
	t.Run("renewed", s.renewed)
}

// agent runs an agent on a host until it gives up.
func (s *site) agent(t *testing.T, host string, args ...string) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := s.Place(host).Command(snaplineProgram(), append([]string{"agent", "--json", "--join", "10.77.0.254:4222", "--data", t.TempDir(), "--key-file", s.key()}, args...)...)
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	defer stop()
	_ = cmd.Wait() // its status is looked at
	return outcome{args: args, status: cmd.ProcessState.ExitCode(), stderr: said.String()}
}

func (s *site) key() string {
	_, key := s.Repository()
	return key
}

func (s *site) strangers(t *testing.T) {
	s.agent(t, "h1", "--name", "h9").expect(t, exitRefused) // in clear, to another machine
	var token snapline.JoinToken
	s.mustRun(t, &token, "token", "create", "--host", "h8")
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token.Token), 0o600); err != nil {
		t.Fatal(err)
	}
	o := s.agent(t, "h1", "--name", "h9", "--token-file", file)
	o.expect(t, exitDenied)
	if e := o.problem(t); !strings.Contains(e.Message, "for host h8, not h9") {
		t.Errorf("%+v", e)
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	s.agent(t, "h1", "--name", "h8", "--token-file", file).expect(t, exitInvalid) // anybody can read it
	s.mustRun(t, nil, "token", "revoke", token.ID)
	s.agent(t, "h1", "--name", "h8", "--token", token.Token).expect(t, exitDenied)

	// A host's credential is good for that host, and while nobody else can read it.
	dir := t.TempDir()
	b, err := os.ReadFile(s.Credential("h1"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "credential.pem"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	s.agent(t, "h1", "--name", "h2", "--data", dir).expect(t, exitRefused)
	if err := os.Chmod(filepath.Join(dir, "credential.pem"), 0o640); err != nil {
		t.Fatal(err)
	}
	s.agent(t, "h1", "--name", "h1", "--data", dir).expect(t, exitRefused)
}

// state is what the coordinator thinks of a host's agent.
func (s *site) state(t *testing.T, host snapline.HostName) string {
	t.Helper()
	hosts, err := s.api.Hosts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range hosts {
		if h.Name == host {
			return h.Agent
		}
	}
	return "unknown"
}

func (s *site) revoked(t *testing.T) {
	s.mustRun(t, nil, "revoke", "agent/h2")
	// It counts as offline when it has been silent for long enough: what runs there
	// may have a lease until then.
	await(t, time.Minute, "agent h2 shut out", func(context.Context) error {
		if got := s.state(t, "h2"); got != "offline" {
			return fmt.Errorf("it is %s", got)
		}
		log, err := os.ReadFile(s.Log("coordinator"))
		if err != nil || !bytes.Contains(log, []byte("agent/h2 was revoked")) {
			return errors.Join(err, errors.New("it has not tried to come back"))
		}
		return nil
	})
	if s.state(t, "h1") != "online" {
		t.Error("agent h1 has suffered from it")
	}
	if err := s.KillDaemon(t.Context(), "h2"); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(s.Credential("h2")); err != nil { // so that the lab makes a token
		t.Fatal(err)
	}
	s.restartAgent(t, "h2")
	var log []snapline.AuditEntry
	s.mustRun(t, &log, "audit")
	last := log[len(log)-1]
	if last.Action != "enrol" || last.Target != "agent/h2" || last.Outcome != "done" || !strings.HasPrefix(last.Who, "token/") {
		t.Errorf("audit log ends with %+v", last)
	}
}

// renewed gives a host certificates that live for some seconds.
func (s *site) renewed(t *testing.T) {
	const life = 6 * time.Second
	if err := s.KillDaemon(t.Context(), "coordinator"); err != nil {
		t.Fatal(err)
	}
	if err := s.StartCoordinator(t.Context(), "--test-agent-life", life.String()); err != nil {
		t.Fatal(err)
	}
	s.awaitAgents(t)
	s.mustRun(t, nil, "revoke", "agent/h1")
	if err := s.KillDaemon(t.Context(), "h1"); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(s.Credential("h1")); err != nil {
		t.Fatal(err)
	}
	s.restartAgent(t, "h1")
	born := s.incarnation(t, "h1")
	seen := map[string]bool{}
	await(t, 20*life, "three certificates", func(context.Context) error {
		b, err := os.ReadFile(s.Credential("h1"))
		if err != nil {
			return err
		}
		if seen[string(b)] = true; len(seen) < 3 {
			return fmt.Errorf("%d so far", len(seen))
		}
		return nil
	})
	if got := s.state(t, "h1"); got != "online" || s.incarnation(t, "h1") != born {
		t.Errorf("agent h1 is %s, in life %s, began as %s", got, s.incarnation(t, "h1"), born)
	}
}
