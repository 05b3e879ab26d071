package nats

import (
	"crypto/rand"
	"crypto/subtle"
	"crypto/x509"
	"sync"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/snapline/snapline"
)

// Login is what a client shows when it connects.
type Login struct {
	// Certificate is the client's, which TLS has verified; nil when it has none.
	Certificate *x509.Certificate
	// Token is what DialOptions.Token says.
	Token string
}

// door lets clients of an embedded server in, and puts them out again.
type door struct {
	// secret is what clients in this process show. They have no certificate.
	secret string
	// who says who a client is; nil lets everybody in as whoever they say.
	who func(Login) (snapline.Address, error)
	ns  *server.Server
	log *serverLog

	mu     sync.Mutex
	inside map[uint64]snapline.Address // connections, some of which may have ended
	swept  int                         // size of inside after the last sweep
}

var _ server.Authentication = (*door)(nil)

func newDoor(who func(Login) (snapline.Address, error), log *serverLog) *door {
	return &door{secret: rand.Text(), who: who, log: log, inside: map[uint64]snapline.Address{}}
}

// Check implements server.Authentication, on the goroutine of the client.
func (d *door) Check(c server.ClientAuthentication) bool {
	o := c.GetOpts()
	if o.Token != "" && subtle.ConstantTimeCompare([]byte(o.Token), []byte(d.secret)) == 1 {
		return true // without permissions: everything
	}
	login := Login{Token: o.Token}
	if s := c.GetTLSConnectionState(); s != nil && len(s.VerifiedChains) > 0 {
		login.Certificate = s.VerifiedChains[0][0]
	}
	// Held throughout: whoever is let in is known to Disconnect, so that nobody
	// slips in between a revocation and its effect.
	d.mu.Lock()
	defer d.mu.Unlock()
	as, err := d.who(login)
	if err != nil {
		d.log.Warnf("client at %s refused: %v", c.RemoteAddress(), err)
		return false
	}
	p, ok := permissions(as)
	if !ok {
		d.log.Warnf("client at %s refused: %q has nothing to say here", c.RemoteAddress(), as)
		return false
	}
	c.RegisterUser(&server.User{Username: string(as), Permissions: p})
	d.sweep()
	d.inside[c.GetID()] = as
	return true
}

// sweep forgets connections that have ended, now and then.
func (d *door) sweep() {
	if len(d.inside) < 2*d.swept+64 {
		return
	}
	for id := range d.inside {
		if d.ns.GetClient(id) == nil {
			delete(d.inside, id)
		}
	}
	d.swept = len(d.inside)
}

// put out whoever keep does not want.
func (d *door) putOut(keep func(snapline.Address) bool) {
	d.mu.Lock()
	var out []uint64
	for id, as := range d.inside {
		if !keep(as) {
			out = append(out, id)
			delete(d.inside, id)
		}
	}
	d.mu.Unlock()
	for _, id := range out {
		_ = d.ns.DisconnectClientByID(id) // fails for one that has gone
	}
}
