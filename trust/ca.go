package trust

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"

	"github.com/snapline/snapline"
)

// How long certificates live. All but the CA's renew by themselves.
const (
	caLife          = 10 * 365 * 24 * time.Hour
	AgentLife       = 30 * 24 * time.Hour
	CoordinatorLife = 30 * 24 * time.Hour
	UserLife        = 90 * 24 * time.Hour
	natsLife        = 365 * 24 * time.Hour // its operator replaces it by hand
	// backdate allows for clocks that differ between hosts.
	backdate = 5 * time.Minute
)

// CA is a cluster's certificate authority. Whoever has it can be anybody.
type CA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewCA makes an authority.
func NewCA(now time.Time) (*CA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the authority's key: %w", err)
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "Snapline CA " + hex.EncodeToString(serial.Bytes()[:4])},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(caLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make the authority's certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &CA{cert, key}, nil
}

// ReadCA reads an authority's file. It must be private to its owner.
func ReadCA(path string) (*CA, error) {
	b, err := readPrivate(path)
	if err != nil {
		return nil, err
	}
	ca, err := parseCA(b)
	if err != nil {
		return nil, invalid("", "%s: %v", path, err)
	}
	return ca, nil
}

func parseCA(b []byte) (*CA, error) {
	certPEM, rest := pem.Decode(b)
	keyPEM, _ := pem.Decode(rest)
	if certPEM == nil || keyPEM == nil || certPEM.Type != certBlock || keyPEM.Type != keyBlock {
		return nil, errors.New("this is no authority: a certificate and its private key")
	}
	cert, err := x509.ParseCertificate(certPEM.Bytes)
	if err != nil {
		return nil, err
	}
	any, err := x509.ParsePKCS8PrivateKey(keyPEM.Bytes)
	if err != nil {
		return nil, err
	}
	key, ok := any.(*ecdsa.PrivateKey)
	if !ok || !cert.IsCA || !key.PublicKey.Equal(cert.PublicKey) {
		return nil, errors.New("this is no authority: the key is not the certificate's")
	}
	return &CA{cert, key}, nil
}

// Create writes the authority's file, mode 0600; os.ErrExist when one is there.
func (ca *CA) Create(path string) error {
	key, err := x509.MarshalPKCS8PrivateKey(ca.key)
	if err != nil {
		return err
	}
	return createPrivate(path, append([]byte(ca.PEM()), pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: key})...))
}

// PEM is the authority's certificate, which is no secret.
func (ca *CA) PEM() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: certBlock, Bytes: ca.cert.Raw}))
}

// Fingerprint names the authority, as Credential.Fingerprint.
func (ca *CA) Fingerprint() string { return fingerprint(ca.cert) }

// usages are what each kind's certificates can be used for.
var usages = map[string][]x509.ExtKeyUsage{
	snapline.KindAgent:       {x509.ExtKeyUsageClientAuth},
	snapline.KindUser:        {x509.ExtKeyUsageClientAuth},
	snapline.KindCoordinator: {x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	snapline.KindNATS:        {x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
}

// sign issues a certificate. hosts are for foreign programs, which look at them.
func (ca *CA) sign(key crypto.PublicKey, p snapline.Principal, hosts []string, now time.Time, life time.Duration) (*x509.Certificate, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	until := now.Add(life)
	if until.After(ca.cert.NotAfter) {
		until = ca.cert.NotAfter
	}
	t := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{OrganizationalUnit: []string{p.Kind()}, CommonName: p.Name()},
		NotBefore:    now.Add(-min(backdate, life/10)),
		NotAfter:     until,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  usages[p.Kind()],
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, ca.cert, key, ca.key)
	if err != nil {
		return nil, fmt.Errorf("issue a certificate to %s: %w", p, err)
	}
	return x509.ParseCertificate(der)
}

// newSerial is 127 random bits, of which the first is set.
func newSerial() (*big.Int, error) {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		return nil, err
	}
	b[0] = b[0]&0x7f | 0x40
	return new(big.Int).SetBytes(b[:]), nil
}
