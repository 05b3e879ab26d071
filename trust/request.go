package trust

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/snapline/snapline"
)

// maxRequest bounds a certificate request, in bytes; ours have 0.4 kilobytes.
const maxRequest = 8 << 10

// Request is a new private key and the request for a certificate of it.
type Request struct {
	key *ecdsa.PrivateKey
	csr []byte
}

// NewRequest makes a private key. It names nobody: who gets the certificate is
// for the authority to say, not for the request.
func NewRequest() (*Request, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a private key: %w", err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, fmt.Errorf("make a certificate request: %w", err)
	}
	return &Request{key, csr}, nil
}

// PEM is the request as it is sent.
func (r *Request) PEM() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: r.csr}))
}

// Credential joins the key with the certificate that was issued for it.
func (r *Request) Credential(issued snapline.IssuedCertificate) (*Credential, error) {
	key, err := x509.MarshalPKCS8PrivateKey(r.key)
	if err != nil {
		return nil, err
	}
	all := issued.Certificate + string(pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: key})) + issued.CA
	return ParseCredential([]byte(all))
}

// requestedKey returns the public key of a request, whose sender has shown to
// hold the private one.
func requestedKey(text string) (crypto.PublicKey, error) {
	if len(text) > maxRequest {
		return nil, fmt.Errorf("certificate request of %d bytes", len(text))
	}
	block, rest := pem.Decode([]byte(text))
	if block == nil || block.Type != "CERTIFICATE REQUEST" || len(rest) > 0 {
		return nil, errors.New("this is no certificate request")
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("certificate request: %w", err)
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, fmt.Errorf("certificate request: %w", err)
	}
	key, ok := csr.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, errors.New("certificate request: its key must be ECDSA P-256")
	}
	return key, nil
}
