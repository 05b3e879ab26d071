package cli_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/api"
	"github.com/snapline/snapline/api/apitest"
	"github.com/snapline/snapline/bustest"
	"github.com/snapline/snapline/cli"
	"github.com/snapline/snapline/trust"
)

// renewer is the part of a coordinator that renews users' certificates.
type renewer struct {
	api.NoTrust
	a *trust.Authority
}

func (r renewer) Renew(ctx context.Context, csr string) (snapline.IssuedCertificate, error) {
	return r.a.Renew(ctx, snapline.Principal(api.CallerOf(ctx).Name), csr)
}

// TestCredentialRenewsWhileItIsUsed: of a user who was admitted 70 days ago, and
// whose certificate lives for 90.
func TestCredentialRenewsWhileItIsUsed(t *testing.T) {
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	past := time.Now().Add(-70 * 24 * time.Hour)
	now := past
	dir, file := filepath.Join(t.TempDir(), "trust"), filepath.Join(t.TempDir(), "boss.pem")
	check(trust.Init(dir, "boss", past, func(c *trust.Credential) error { return c.Create(file) }))
	ca, seed, err := trust.Open(dir)
	check(err)
	a := trust.NewAuthority(trust.AuthorityOptions{CA: ca, Now: func() time.Time { return now }})
	check(a.Load(t.Context(), bustest.NewStore(), seed))
	now = time.Now()
	own, err := ca.Coordinator("c1", nil, now)
	check(err)
	l, err := api.Listen("127.0.0.1:0")
	check(err)
	fake := apitest.New(apitest.Options{})
	defer fake.Close()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	server := api.Server{Service: fake, TLS: trust.NewHolder(own, nil).Server(), Trust: renewer{a: a},
		Identify: func(cert *x509.Certificate) (api.Caller, error) {
			p, role, err := a.Check(cert)
			return api.Caller{Name: string(p), Role: role}, err
		}}
	go func() { done <- server.Serve(ctx, l) }()
	defer func() { cancel(); check(<-done) }()

	groups := func() {
		t.Helper()
		var out, errs bytes.Buffer
		d := cli.Deps{Stdin: os.Stdin, Stdout: &out, Stderr: &errs, Env: func(string) (string, bool) { return "", false }}
		if status := cli.Run(t.Context(), d, []string{"groups", "--json", "--server", l.Addr().String(), "--credential", file}); status != 0 || errs.Len() > 0 {
			t.Fatalf("status %d: %s", status, &errs)
		}
	}
	before, err := trust.ReadCredential(file)
	check(err)
	groups()
	after, err := trust.ReadCredential(file)
	check(err)
	if !after.Expires().After(before.Expires()) || after.Principal() != before.Principal() {
		t.Errorf("%s has a certificate until %v, before until %v", after.Principal(), after.Expires(), before.Expires())
	}
	groups() // with the new one, which is not renewed again
	again, err := trust.ReadCredential(file)
	check(err)
	if !again.Expires().Equal(after.Expires()) {
		t.Error("it was renewed before its time")
	}
}
