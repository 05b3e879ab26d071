package trust

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/snapline/snapline"
)

const (
	certBlock = "CERTIFICATE"
	keyBlock  = "PRIVATE KEY"
)

// Credential is a certificate, its private key, and the authority that vouches
// for it and for everybody else: what somebody needs to take part. It is not
// changed once it is made.
type Credential struct {
	tls  tls.Certificate // the leaf and the CA's
	leaf *x509.Certificate
	ca   *x509.Certificate
	pem  []byte
}

// ParseCredential reads one certificate, its private key, and the CA's
// certificate, in this order, as PEM. It checks that they belong together.
func ParseCredential(b []byte) (*Credential, error) {
	if len(b) > maxFile {
		return nil, fmt.Errorf("credential of %d bytes", len(b))
	}
	c := &Credential{pem: b}
	for i, kind := range []string{certBlock, keyBlock, certBlock} {
		block, rest := pem.Decode(b)
		if block == nil || block.Type != kind {
			return nil, fmt.Errorf("this is no credential: block %d should be a %s", i+1, kind)
		}
		b = rest
		var err error
		switch i {
		case 0:
			c.leaf, err = x509.ParseCertificate(block.Bytes)
		case 1:
			c.tls.PrivateKey, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case 2:
			c.ca, err = x509.ParseCertificate(block.Bytes)
		}
		if err != nil {
			return nil, fmt.Errorf("credential: %w", err)
		}
	}
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("credential: %w", err)
	}
	c.tls.Certificate = [][]byte{c.leaf.Raw, c.ca.Raw}
	c.tls.Leaf = c.leaf
	return c, nil
}

func (c *Credential) check() error {
	key, ok := c.tls.PrivateKey.(*ecdsa.PrivateKey)
	if !ok || !key.PublicKey.Equal(c.leaf.PublicKey) {
		return errors.New("the private key is not the certificate's")
	}
	if _, err := principalOf(c.leaf); err != nil {
		return err
	}
	if !c.ca.IsCA {
		return errors.New("its authority is none")
	}
	return c.leaf.CheckSignatureFrom(c.ca)
}

// ReadCredential reads a credential's file. It must be private to its owner.
func ReadCredential(path string) (*Credential, error) {
	b, err := readPrivate(path)
	if err != nil {
		return nil, err
	}
	c, err := ParseCredential(b)
	if err != nil {
		return nil, invalid("", "%s: %v", path, err)
	}
	return c, nil
}

// Write replaces the file in one step, with mode 0600.
func (c *Credential) Write(path string) error { return writePrivate(path, c.pem) }

// Create is Write for a file that must not be there yet: os.ErrExist.
func (c *Credential) Create(path string) error { return createPrivate(path, c.pem) }

// Principal is whose credential it is.
func (c *Credential) Principal() snapline.Principal {
	p, err := principalOf(c.leaf)
	if err != nil {
		panic(err) // ParseCredential has seen to it
	}
	return p
}

// Certificate is its own; it must not be changed.
func (c *Credential) Certificate() *x509.Certificate { return c.leaf }

// Fingerprint names the cluster's authority: "sha256:" and 64 hexadecimal digits.
func (c *Credential) Fingerprint() string { return fingerprint(c.ca) }

// Expires is when the certificate ends.
func (c *Credential) Expires() time.Time { return c.leaf.NotAfter }

// Due is when it should be renewed: after two thirds of its life.
func (c *Credential) Due() time.Time {
	return c.leaf.NotBefore.Add(c.leaf.NotAfter.Sub(c.leaf.NotBefore) * 2 / 3)
}

// Missing reports whether err says that there is no such file.
func Missing(err error) bool { return errors.Is(err, os.ErrNotExist) }

// principalOf reads a certificate's subject.
func principalOf(cert *x509.Certificate) (snapline.Principal, error) {
	if len(cert.Subject.OrganizationalUnit) != 1 {
		return "", fmt.Errorf("certificate of %q: its subject is not OU=KIND, CN=NAME", cert.Subject)
	}
	p := snapline.NewPrincipal(cert.Subject.OrganizationalUnit[0], cert.Subject.CommonName)
	if err := p.Check(); err != nil {
		return "", fmt.Errorf("certificate of %w", err)
	}
	return p, nil
}

func fingerprint(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return "sha256:" + hex.EncodeToString(sum[:])
}
