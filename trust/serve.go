package trust

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/snapline/snapline"
)

// Where a coordinator admits hosts and renews their certificates.
const (
	toEnrol snapline.Address = "coordinator.enrol"
	toRenew snapline.Address = "coordinator.renew"
)

// maxQuestion bounds what a stranger may send, in bytes.
const maxQuestion = 32 << 10

// ToToken is the address of who joins with a token, until it has a name.
func ToToken(id string) snapline.Address { return snapline.Address("token." + id) }

// enrolment asks to be admitted.
type enrolment struct {
	Token string            `json:"token"` // Token.Password
	Host  snapline.HostName `json:"host"`
	CSR   string            `json:"csr"`
}

// renewal asks for the next certificate of one that is good. The signature shows
// who asks, whatever the bus may be.
type renewal struct {
	Certificate []byte `json:"certificate"` // DER
	CSR         string `json:"csr"`
	Signature   []byte `json:"signature"` // by the certificate's key
}

// reply answers both.
type reply struct {
	Issued *snapline.IssuedCertificate `json:"issued,omitempty"`
	Error  *snapline.Error             `json:"error,omitempty"`
}

// Serve answers hosts that join and agents that renew, until stop is called.
func (a *Authority) Serve(bus snapline.Bus) (stop func(), err error) {
	stopEnrol, err := bus.Answer(toEnrol, func(ctx context.Context, from snapline.Address, q []byte) []byte {
		return a.answer(ctx, from, "enrol", q, a.enrol)
	})
	if err != nil {
		return nil, fmt.Errorf("listen for hosts that join: %w", err)
	}
	stopRenew, err := bus.Answer(toRenew, func(ctx context.Context, from snapline.Address, q []byte) []byte {
		return a.answer(ctx, from, "renew", q, a.renew)
	})
	if err != nil {
		stopEnrol()
		return nil, fmt.Errorf("listen for renewals: %w", err)
	}
	return func() { stopRenew(); stopEnrol() }, nil
}

func (a *Authority) answer(ctx context.Context, from snapline.Address, action string, q []byte,
	do func(context.Context, snapline.Address, []byte) (snapline.IssuedCertificate, error)) []byte {
	var r reply
	entry := snapline.AuditEntry{At: second(a.Now()), Who: strings.Replace(string(from), ".", "/", 1), Action: action, Outcome: "done"}
	out, err := snapline.IssuedCertificate{}, error(invalid("", "a question of %d bytes", len(q)))
	if len(q) <= maxQuestion {
		out, err = do(ctx, from, q)
	}
	entry.Target = string(out.Principal)
	if err != nil {
		if !errors.As(err, &r.Error) {
			r.Error = &snapline.Error{Code: snapline.CodeFailed, Message: err.Error()}
		}
		entry.Outcome, entry.Detail = string(r.Error.Code), r.Error.Error()
		a.Log.Warn(action+" refused", "from", from, "error", err)
	} else {
		r.Issued = &out
	}
	if err := a.Audit(entry); err != nil {
		a.Log.Error("write the audit log", "error", err)
	}
	b, err := json.Marshal(r)
	if err != nil {
		a.Log.Error("encode answer", "error", err)
	}
	return b
}

func (a *Authority) enrol(ctx context.Context, from snapline.Address, q []byte) (snapline.IssuedCertificate, error) {
	var e enrolment
	if err := json.Unmarshal(q, &e); err != nil {
		return snapline.IssuedCertificate{}, invalid("", "a request to join that makes no sense")
	}
	if id, _, ok := splitPassword(e.Token); !ok || ToToken(id) != from {
		return snapline.IssuedCertificate{}, denied("", "this is another's token")
	}
	if err := snapline.CheckName("host", string(e.Host)); err != nil {
		return snapline.IssuedCertificate{}, invalid("", "%v", err)
	}
	return a.Enrol(ctx, e.Token, e.Host, e.CSR)
}

func (a *Authority) renew(ctx context.Context, from snapline.Address, q []byte) (snapline.IssuedCertificate, error) {
	var r renewal
	if err := json.Unmarshal(q, &r); err != nil {
		return snapline.IssuedCertificate{}, invalid("", "a request to renew that makes no sense")
	}
	cert, err := x509.ParseCertificate(r.Certificate)
	if err != nil {
		return snapline.IssuedCertificate{}, invalid("", "%v", err)
	}
	if err := cert.CheckSignatureFrom(a.CA.cert); err != nil {
		return snapline.IssuedCertificate{}, denied("", "the certificate to renew is not of this cluster")
	}
	p, _, err := a.Check(cert)
	if err != nil {
		return snapline.IssuedCertificate{}, err
	}
	key, ok := cert.PublicKey.(*ecdsa.PublicKey)
	if !ok || !ecdsa.VerifyASN1(key, renewalDigest(r.CSR), r.Signature) {
		return snapline.IssuedCertificate{}, denied("", "the request to renew is not signed by %s", p)
	}
	if host, ok := from.Host(); !ok || p != snapline.NewPrincipal(snapline.KindAgent, string(host)) {
		return snapline.IssuedCertificate{}, denied("", "%s does not renew for %s", from, p)
	}
	return a.Renew(ctx, p, r.CSR)
}

func renewalDigest(csr string) []byte {
	sum := sha256.Sum256([]byte("snapline renewal\x00" + csr))
	return sum[:]
}

// Join asks the coordinator at the other end of bus, which must be a connection
// that Pinned has checked, to admit this host.
func Join(ctx context.Context, bus snapline.Bus, t Token, host snapline.HostName) (*Credential, error) {
	r, err := NewRequest()
	if err != nil {
		return nil, err
	}
	c, err := ask(ctx, bus, toEnrol, r, enrolment{Token: t.Password(), Host: host, CSR: r.PEM()})
	if err != nil {
		return nil, err
	}
	if !t.pins(c.ca) || c.Principal() != snapline.NewPrincipal(snapline.KindAgent, string(host)) {
		return nil, fmt.Errorf("the coordinator gave a certificate of %s: %w", c.Principal(), ErrWrongCluster)
	}
	return c, nil
}

// Renew asks for the next certificate of an agent.
func (c *Credential) Renew(ctx context.Context, bus snapline.Bus) (*Credential, error) {
	r, err := NewRequest()
	if err != nil {
		return nil, err
	}
	key, ok := c.tls.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New("the credential has another kind of key")
	}
	signature, err := ecdsa.SignASN1(rand.Reader, key, renewalDigest(r.PEM()))
	if err != nil {
		return nil, err
	}
	return ask(ctx, bus, toRenew, r, renewal{Certificate: c.leaf.Raw, CSR: r.PEM(), Signature: signature})
}

// ask sends a question about a request and reads the credential in the answer.
func ask(ctx context.Context, bus snapline.Bus, to snapline.Address, r *Request, question any) (*Credential, error) {
	q, err := json.Marshal(question)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	b, err := bus.Ask(ctx, to, q)
	if err != nil {
		return nil, err
	}
	if len(b) > maxFile {
		return nil, fmt.Errorf("an answer of %d bytes", len(b))
	}
	var answer reply
	if err := json.Unmarshal(b, &answer); err != nil {
		return nil, fmt.Errorf("the coordinator's answer: %w", err)
	}
	if answer.Error != nil {
		return nil, answer.Error
	}
	if answer.Issued == nil {
		return nil, errors.New("the coordinator's answer is empty")
	}
	return r.Credential(*answer.Issued)
}
