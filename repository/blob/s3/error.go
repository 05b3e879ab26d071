package s3

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/xml"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/minio/minio-go/v7"

	"github.com/snapline/snapline/repository/blob"
)

// failed says what was tried, where, and what to do about it.
func (s *Store) failed(verb, name string, err error) error {
	return fmt.Errorf("%s %s: %s: %w", verb, name, s, s.explain(err))
}

// explain names the operator's next step where there is one.
func (s *Store) explain(err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if r := minio.ToErrorResponse(err); r.Code != "" || r.StatusCode != 0 {
		return s.explainAnswer(r, err)
	}
	return s.explainConnection(err)
}

func (s *Store) explainAnswer(r minio.ErrorResponse, err error) error {
	bucket := s.config.Bucket
	switch r.Code {
	case minio.NoSuchKey:
		return fmt.Errorf("%w: %w", blob.ErrNotFound, err)
	case minio.NoSuchBucket:
		doubt := ""
		if r.RequestID == "" && r.HostID == "" { // then minio-go made the code of a bare 404
			doubt = " (if that is an S3 server at all)"
		}
		return fmt.Errorf("there is no bucket %q at %s%s; create it, or correct the location: %w", bucket, s.config.Endpoint, doubt, err)
	case "InvalidAccessKeyId", "InvalidToken", "ExpiredToken", "AuthFailure", "XMinioInvalidAccessKeyId", "XAdminUserNotFound":
		return fmt.Errorf("the server does not know these credentials (%s); correct them: %s: %w", r.Code, setCredentials, err)
	case "SignatureDoesNotMatch":
		return fmt.Errorf("the server finds a wrong signature; correct the secret key (%s), or, if that was right so far, the request was damaged on its way: %w", setCredentials, err)
	case "RequestTimeTooSkewed":
		return fmt.Errorf("this host's clock differs too much from the server's; set it (NTP): %w", err)
	case "AuthorizationHeaderMalformed", "InvalidRegion", "PermanentRedirect", "IllegalLocationConstraintException", "TemporaryRedirect":
		return fmt.Errorf("the bucket is in another region%s; say which with ?region=: %w", named(r.Region), err)
	case "QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "StorageFull", "InsufficientStorage", "ServerStorageFull":
		return fmt.Errorf("%w: delete snapshots and prune the repository, or raise the bucket's quota: %w", blob.ErrFull, err)
	case "SlowDown", "SlowDownWrite", "SlowDownRead":
		return fmt.Errorf("the server asks for fewer requests; lower --upload-rate: %w", err)
	}
	switch {
	case isDenied(err):
		return fmt.Errorf("access denied; these credentials need s3:ListBucket on the bucket %s and s3:GetObject, PutObject, DeleteObject on %s: %w",
			bucket, bucket+"/"+s.key("*"), err)
	case r.StatusCode == http.StatusInsufficientStorage:
		return fmt.Errorf("%w: delete snapshots and prune the repository, or add storage: %w", blob.ErrFull, err)
	case r.StatusCode == http.StatusBadRequest && strings.Contains(r.Message+r.Code, "HTTPS"):
		return fmt.Errorf("%s speaks TLS only; write endpoint=https://…: %w", s.config.Endpoint, err)
	case noS3(r):
		return fmt.Errorf("what answers at %s is no S3 server (HTTP status %d); correct endpoint= in the location: %w", s.config.Endpoint, r.StatusCode, err)
	}
	return fmt.Errorf("%s (HTTP status %d): %w", r.Code, r.StatusCode, err)
}

// noS3 reports an answer that carries no error code of S3: minio-go then makes
// one up of the status line.
func noS3(r minio.ErrorResponse) bool {
	return r.Code == "" || strings.Contains(r.Code, " ") || (r.RequestID == "" && r.HostID == "" && r.StatusCode == http.StatusMethodNotAllowed)
}

func named(region string) string {
	if region == "" {
		return ""
	}
	return ", " + region
}

func isDenied(err error) bool {
	r := minio.ToErrorResponse(err)
	return r.Code == minio.AccessDenied || (r.StatusCode == http.StatusForbidden && r.Code == "")
}

func (s *Store) explainConnection(err error) error {
	var (
		dns     *net.DNSError
		host    x509.HostnameError
		unknown x509.UnknownAuthorityError
		verify  *tls.CertificateVerificationError
		record  tls.RecordHeaderError
		dial    *net.OpError
	)
	at := s.config.Endpoint
	switch {
	case errors.As(err, &dns):
		return fmt.Errorf("nobody knows the host of %s; correct endpoint=, or this host's name service: %w", at, err)
	case isPlainHTTP(err), errors.As(err, &record):
		return fmt.Errorf("%s does not speak TLS; write endpoint=http://… if that is meant: %w", at, err)
	case errors.As(err, &host):
		return fmt.Errorf("the certificate of %s is for another name; use that name in endpoint=: %w", at, err)
	case errors.As(err, &unknown), errors.As(err, &verify):
		return fmt.Errorf("the certificate of %s is not trusted here; name its authority with ?ca=FILE (or, for a trial, ?insecure=true): %w", at, err)
	case isNoXML(err):
		return fmt.Errorf("what answers at %s is no S3 server; correct endpoint= in the location: %w", at, err)
	case errors.As(err, &dial) && dial.Op == "dial":
		return fmt.Errorf("%s cannot be reached; is the server running, and the firewall open? %w", at, err)
	}
	return err
}

// isPlainHTTP reports net/http's error for a server that answers TLS in clear.
func isPlainHTTP(err error) bool {
	return errors.Is(err, http.ErrSchemeMismatch) || strings.Contains(err.Error(), "server gave HTTP response to HTTPS client")
}

// isNoXML reports an answer that minio-go could not read.
func isNoXML(err error) bool {
	var (
		syntax *xml.SyntaxError
		shape  xml.UnmarshalError
	)
	return errors.As(err, &syntax) || errors.As(err, &shape)
}
