package trust

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/snapline/snapline"
)

// Holder holds somebody's credential, which is replaced when it renews; TLS
// connections made by its configurations use the present one. It is safe for
// use from several goroutines.
type Holder struct {
	now func() time.Time
	c   atomic.Pointer[Credential]
}

// NewHolder returns a holder of c. now is the clock; nil means time.Now.
func NewHolder(c *Credential, now func() time.Time) *Holder {
	if now == nil {
		now = time.Now
	}
	h := &Holder{now: now}
	h.c.Store(c)
	return h
}

// Credential is the present one.
func (h *Holder) Credential() *Credential { return h.c.Load() }

// Replace changes what later connections use.
func (h *Holder) Replace(c *Credential) { h.c.Store(c) }

// Client configures connections to servers of the given kinds, which must have
// a certificate of our authority. The server's address is not compared with
// anything.
func (h *Holder) Client(kinds ...string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &h.c.Load().tls, nil
		},
		// The check below takes the place of the one by the server's name.
		InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			return verifyServer(s, h.c.Load().ca, h.now(), kinds)
		},
	}
}

// Server configures a listener that asks for certificates of our authority. A
// client without one gets in; what it may do there is the caller's to say.
func (h *Holder) Server() *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(h.c.Load().ca) // renewal does not change it
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return &h.c.Load().tls, nil
		},
		ClientAuth: tls.VerifyClientCertIfGiven,
		ClientCAs:  pool,
		Time:       h.now,
		// A resumed session would be one whose certificate was looked at long ago.
		SessionTicketsDisabled: true,
	}
}

// Pinned configures the connection of a host that joins: it knows of the
// authority only the fingerprint in its token, and has no certificate yet.
func Pinned(t Token) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		InsecureSkipVerify: true, // as for Holder.Client
		VerifyConnection: func(s tls.ConnectionState) error {
			i := slices.IndexFunc(s.PeerCertificates, t.pins)
			if i < 1 {
				return ErrWrongCluster
			}
			return verifyServer(s, s.PeerCertificates[i], time.Now(), []string{snapline.KindCoordinator})
		},
	}
}

// ErrWrongCluster says that whoever answers is not of the cluster that the token
// is for.
var ErrWrongCluster = errors.New("who answers there is not the coordinator that made the token")

func verifyServer(s tls.ConnectionState, ca *x509.Certificate, now time.Time, kinds []string) error {
	if len(s.PeerCertificates) == 0 {
		return errors.New("the server has no certificate")
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	leaf := s.PeerCertificates[0]
	_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	if err != nil {
		return fmt.Errorf("the server is not of this cluster: %w", err)
	}
	p, err := principalOf(leaf)
	if err != nil {
		return err
	}
	if !slices.Contains(kinds, p.Kind()) {
		return fmt.Errorf("the server is %s, which does not speak for the cluster", p)
	}
	return nil
}
