package trust

import (
	"crypto/x509"
	"encoding/pem"

	"github.com/snapline/snapline"
)

// issued is a certificate as it is sent to its owner.
func issued(ca *CA, cert *x509.Certificate, rec record) snapline.IssuedCertificate {
	return snapline.IssuedCertificate{Principal: rec.Principal, Role: rec.Role, CA: ca.PEM(), Expires: cert.NotAfter,
		Certificate: string(pem.EncodeToMemory(&pem.Block{Type: certBlock, Bytes: cert.Raw}))}
}
