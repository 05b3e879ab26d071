package nats

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	natsio "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Cluster makes an embedded server one of several that keep one store together:
// it answers as long as more than half of them run and see each other.
type Cluster struct {
	// Name is this server's among Members.
	Name string
	// Members are all servers, this one too, and where each of them listens for the
	// others: HOST:PORT. Three or five; the same on each.
	Members map[string]string
	// TLS is how to speak to the others, from either side; nil means in clear.
	TLS *tls.Config
}

// routeTimeout is how long two servers may take to know each other.
const routeTimeout = 5 // seconds

// clusterName is the same in all installations: servers find each other by their
// addresses.
const clusterName = "snapline"

// apply makes the server's options those of a member.
func (c Cluster) apply(opts *server.Options) error {
	if n := len(c.Members); n != 3 && n != 5 {
		return fmt.Errorf("a cluster of %d: three or five can do without one or two of them; other numbers add nothing", n)
	}
	own, ok := c.Members[c.Name]
	if !ok {
		return fmt.Errorf("a cluster without its member %q: it has %q", c.Name, slices.Sorted(maps.Keys(c.Members)))
	}
	opts.ServerName = c.Name
	opts.Cluster.Name = clusterName
	opts.Cluster.PoolSize = 1
	opts.Cluster.TLSConfig, opts.Cluster.TLSTimeout = c.TLS, routeTimeout
	for _, name := range slices.Sorted(maps.Keys(c.Members)) {
		at := c.Members[name]
		host, port, err := net.SplitHostPort(at)
		n, portErr := strconv.ParseUint(port, 10, 16)
		if err = errors.Join(err, portErr); err != nil || n == 0 || host == "" {
			return fmt.Errorf("cluster member %s at %q: use HOST:PORT", name, at)
		}
		if name == c.Name {
			opts.Cluster.Host, opts.Cluster.Port = host, int(n)
		} else if at == own {
			return fmt.Errorf("cluster members %s and %s are both at %s", c.Name, name, at)
		}
		// The own one, too: JetStream counts the routes to know how many it waits for.
		opts.Routes = append(opts.Routes, &url.URL{Scheme: "nats", Host: at})
	}
	return nil
}

const (
	// quorumTry bounds one attempt to open a store: without a majority nobody
	// answers. quorumRetry is the time between two.
	quorumTry   = 2 * time.Second
	quorumRetry = 250 * time.Millisecond
)

// openWhenQuorate is openBucket that waits for enough of the servers.
func openWhenQuorate(ctx context.Context, c *Conn, o StoreOptions) (*Store, error) {
	for {
		try, cancel := context.WithTimeout(ctx, quorumTry)
		s, err := openBucket(try, c, o)
		cancel()
		if err == nil || !passing(err) {
			return s, err
		}
		select {
		case <-time.After(quorumRetry):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// passing reports whether a replicated store may be there when more of its
// servers are.
func passing(err error) bool {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		return api.Code == 503 || api.Code == 500 || api.ErrorCode == 10005 // no suitable peers for placement
	}
	return noJetStream(err) || errors.Is(err, natsio.ErrTimeout) || errors.Is(err, ErrDisconnected) ||
		errors.Is(err, jetstream.ErrNoStreamResponse) || errors.Is(err, natsio.ErrNoResponders) || errors.Is(err, context.DeadlineExceeded)
}

// Rejoin leaves the present server for another one of those that were given, if
// there is one: a server may run and be cut off from all that matters.
func (c *Conn) Rejoin() error {
	if len(c.nc.Servers()) < 2 {
		return nil
	}
	if err := c.nc.ForceReconnect(); err != nil {
		return fmt.Errorf("connect to another server: %w", err)
	}
	return nil
}
