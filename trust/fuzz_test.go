package trust_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/trust"
)

func trustPool(t *testing.T, c *trust.Credential) *x509.CertPool {
	t.Helper()
	path := filepath.Join(t.TempDir(), "c.pem")
	must(t, c.Write(path))
	b, err := os.ReadFile(path)
	must(t, err)
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		t.Fatal("no certificate in a credential")
	}
	return pool
}

func FuzzToken(f *testing.F) {
	f.Add("snapline-" + strings.Repeat("A", 75))
	f.Add("snapline-" + strings.Repeat("A", 74) + "B")
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		token, err := trust.ParseToken(s)
		if err == nil && token.String() != strings.TrimSpace(s) {
			t.Errorf("%q is read as %q", s, token)
		}
	})
}

func FuzzCredential(f *testing.F) {
	now := time.Now()
	ca, err := trust.NewCA(now)
	if err != nil {
		f.Fatal(err)
	}
	c, err := ca.Coordinator("c1", []string{"localhost"}, now)
	if err != nil {
		f.Fatal(err)
	}
	path := filepath.Join(f.TempDir(), "c.pem")
	if err := c.Write(path); err != nil {
		f.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	first, rest := pem.Decode(b)
	f.Add(append(bytes.Clone(rest), pem.EncodeToMemory(first)...)) // another order
	f.Add(bytes.Replace(b, []byte("PRIVATE KEY"), []byte("PUBLIC KEY"), 2))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := trust.ParseCredential(b)
		if err != nil {
			return
		}
		if err := c.Principal().Check(); err != nil {
			t.Error(err)
		}
	})
}

// FuzzQuestions sends anything to where strangers and agents may speak: none of
// it gets a certificate, and each gets an answer.
func FuzzQuestions(f *testing.F) {
	f.Add("token.0011223344556677", []byte(`{"token":"0011223344556677.00112233445566778899aabbccddeeff","host":"h1","csr":"x"}`))
	f.Add("agent.h1", []byte(`{"certificate":"MIIB","csr":"x","signature":"eA=="}`))
	f.Add("agent.h1", []byte(`null`))
	f.Add("x", []byte(`{"token":`))
	s := newSite(f, trust.AuthorityOptions{})
	f.Fuzz(func(t *testing.T, from string, q []byte) {
		for _, to := range []snapline.Address{"coordinator.enrol", "coordinator.renew"} {
			b, err := s.bus.As(snapline.Address(from)).Ask(context.Background(), to, q)
			if err != nil {
				t.Fatal(err)
			}
			var r struct{ Issued, Error any }
			if json.Unmarshal(b, &r) != nil || r.Issued != nil || r.Error == nil {
				t.Errorf("%s answers %s", to, b)
			}
		}
	})
}
