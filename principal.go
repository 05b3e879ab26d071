package snapline

import (
	"fmt"
	"strings"
	"time"
)

// Principal is somebody who has a certificate: "agent/h4", "user/alice",
// "coordinator/c1", "nats/n1".
type Principal string

// Kinds of principals.
const (
	KindAgent       = "agent"
	KindUser        = "user"
	KindCoordinator = "coordinator"
	KindNATS        = "nats" // a server of an external NATS cluster
)

// NewPrincipal returns the principal of that kind and name.
func NewPrincipal(kind, name string) Principal { return Principal(kind + "/" + name) }

// Kind is what stands before the slash.
func (p Principal) Kind() string {
	kind, _, _ := strings.Cut(string(p), "/")
	return kind
}

// Name is what stands behind the slash.
func (p Principal) Name() string {
	_, name, _ := strings.Cut(string(p), "/")
	return name
}

// Check reports whether p is of a known kind and has a name that CheckName takes.
func (p Principal) Check() error {
	kind, name, ok := strings.Cut(string(p), "/")
	if !ok {
		return fmt.Errorf("%q: write KIND/NAME, as in agent/h4 or user/alice", string(p))
	}
	switch kind {
	case KindAgent, KindUser, KindCoordinator, KindNATS:
		return CheckName(kind, name)
	}
	return fmt.Errorf("%q: there are agent/…, user/…, coordinator/… and nats/…", string(p))
}

// Role is what a user may do.
type Role string

const (
	RoleOperator Role = "operator" // everything
	RoleViewer   Role = "viewer"   // look, and change nothing
)

// CertificateRequest asks for a certificate. The private key stays with who asks.
type CertificateRequest struct {
	Principal Principal `json:"principal" doc:"Whose it is to be: user/NAME, agent/HOST or nats/NAME."`
	Role      Role      `json:"role,omitempty" doc:"Of a user."`
	Hosts     []string  `json:"hosts,omitempty" doc:"Names and addresses of a NATS server."`
	CSR       string    `json:"csr" doc:"PKCS #10 request, PEM; only its public key is used."`
}

// IssuedCertificate is a certificate and what it is checked against.
type IssuedCertificate struct {
	Principal   Principal `json:"principal"`
	Role        Role      `json:"role,omitempty"`
	Certificate string    `json:"certificate" doc:"PEM."`
	CA          string    `json:"ca" doc:"The cluster's certificate authority, PEM."`
	Expires     time.Time `json:"expires"`
}

// CertificateStatus is how a principal's certificates stand.
type CertificateStatus struct {
	Principal Principal  `json:"principal"`
	Role      Role       `json:"role,omitempty"`
	By        string     `json:"by" doc:"Who admitted it."`
	Since     time.Time  `json:"since" doc:"When it was admitted."`
	Issued    time.Time  `json:"issued" doc:"When its latest certificate was issued."`
	Expires   time.Time  `json:"expires" doc:"When that one ends, if it is not renewed."`
	Revoked   *time.Time `json:"revoked,omitempty"`
}

// TokenRequest asks for a join token.
type TokenRequest struct {
	Host       HostName `json:"host" doc:"The host that is to join."`
	TTLSeconds int64    `json:"ttl_seconds,omitempty" minimum:"0" doc:"How long it can be used; 0 means an hour."`
}

// JoinToken lets one host's agent join, once.
type JoinToken struct {
	ID      string    `json:"id"`
	Host    HostName  `json:"host"`
	By      string    `json:"by" doc:"Who made it."`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
	// Token is the secret itself; it is shown once, when it is made.
	Token string `json:"token,omitempty" doc:"The secret, shown only when it is made."`
}

// AuditEntry is one line of the audit log.
type AuditEntry struct {
	At      time.Time `json:"at"`
	Who     string    `json:"who" doc:"user/NAME, agent/HOST, or local/NAME for the unix socket."`
	From    string    `json:"from,omitempty" doc:"Address that the request came from."`
	Action  string    `json:"action" doc:"What was asked for, as in take, restore, delete, token-create."`
	Target  string    `json:"target,omitempty" doc:"What it was asked of."`
	Outcome string    `json:"outcome" doc:"asked, then done (or, for what takes longer, started), or the error's code."`
	Detail  string    `json:"detail,omitempty"`
}
