package s3

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/snapline/snapline/repository/blob"
)

// retry calls f until it succeeds, fails for good, or has been failing for as
// long as the store's patience lasts, and five times at the least.
func (s *Store) retry(ctx context.Context, f func() error) error {
	p := persistence{patience: s.patience}
	for {
		err := f()
		if err == nil || !p.again(ctx, err) {
			return err
		}
	}
}

// persistence decides whether something that failed is tried again.
type persistence struct {
	patience time.Duration
	failures int
	since    time.Time
}

// again waits before the next attempt; false means there shall be none.
func (p *persistence) again(ctx context.Context, err error) bool {
	if ctx.Err() != nil || !transient(err) {
		return false
	}
	if p.failures == 0 {
		p.since = time.Now()
	}
	p.failures++
	if p.failures >= 5 && time.Since(p.since) > p.patience {
		return false
	}
	select {
	case <-time.After(pause(p.failures)):
		return true
	case <-ctx.Done():
		return false
	}
}

// progress forgets the failures so far.
func (p *persistence) progress() { p.failures = 0 }

// pause doubles from 50 ms to 3 s, less up to a half at random: hosts that lost
// the server at the same moment shall not come back at the same moment.
func pause(failures int) time.Duration {
	d := min(50*time.Millisecond<<min(failures-1, 10), 3*time.Second)
	return d - rand.N(d/2)
}

// transient reports whether the same request may succeed later.
func transient(err error) bool {
	if r := minio.ToErrorResponse(err); r.StatusCode != 0 || r.Code != "" {
		return transientAnswer(r)
	}
	for _, ours := range []error{errUnordered, errSource, blob.ErrShort} {
		if errors.Is(err, ours) {
			return false
		}
	}
	return !hopeless(err)
}

func transientAnswer(r minio.ErrorResponse) bool {
	switch r.Code {
	case "RequestTimeout", "SlowDown", "SlowDownWrite", "SlowDownRead", "Throttling", "ThrottlingException", "RequestThrottled", "RequestLimitExceeded",
		"InternalError", "ServiceUnavailable", "OperationAborted", "ConditionalRequestConflict",
		// Damaged or cut off on the way here or there.
		"BadDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch", "IncompleteBody":
		return true
	}
	switch r.StatusCode {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// hopeless are errors that no repetition mends: a wrong name, a certificate,
// another protocol than TLS or S3.
func hopeless(err error) bool {
	var (
		unknown x509.UnknownAuthorityError
		host    x509.HostnameError
		invalid x509.CertificateInvalidError
		verify  *tls.CertificateVerificationError
		record  tls.RecordHeaderError
		dns     *net.DNSError
		address *net.AddrError
	)
	return isPlainHTTP(err) || isNoXML(err) || errors.As(err, &unknown) || errors.As(err, &host) || errors.As(err, &invalid) || errors.As(err, &verify) ||
		errors.As(err, &record) || errors.As(err, &address) || (errors.As(err, &dns) && dns.IsNotFound)
}
