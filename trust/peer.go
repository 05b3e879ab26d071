package trust

import "crypto/tls"

// Peer configures connections between servers of the given kinds, from either
// side: each shows its certificate and looks at the other's.
func (h *Holder) Peer(kinds ...string) *tls.Config {
	c := h.Client(kinds...)
	c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &h.c.Load().tls, nil }
	c.ClientAuth = tls.RequireAnyClientCert // verified as a server's is, by VerifyConnection
	c.SessionTicketsDisabled = true
	return c
}
