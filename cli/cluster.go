package cli

import (
	"context"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/api"
	"github.com/snapline/snapline/nats"
	"github.com/snapline/snapline/node"
	"github.com/snapline/snapline/repository/location"
)

// clusterOptions make a coordinator one of several, of which one leads.
type clusterOptions struct {
	members  []string
	share    bool
	replicas int
}

func (o *clusterOptions) flags(f *pflag.FlagSet) {
	f.StringSliceVar(&o.members, "cluster", nil, "NAME=HOST:PORT of each of three or five coordinators, where its embedded server listens for the others; the same for all")
	f.BoolVar(&o.share, "share", false, "with --nats: share the lead with other coordinators that use the same cluster")
	f.IntVar(&o.replicas, "replicas", 0, "with --nats: on how many of its servers to keep the state (default: as it is, 1 when new)")
}

// shared says that others wait for this coordinator to fail.
func (o coordinatorOptions) shared() bool { return o.cluster.share || len(o.cluster.members) > 0 }

// check says which of the flags do not go together.
func (o coordinatorOptions) checkCluster() error {
	c := o.cluster
	switch {
	case c.share && o.external == "":
		return invalid("embedded servers share it with --cluster; --share goes with --nats", "--share without --nats: there is no cluster whose state could be shared")
	case c.replicas != 0 && o.external == "":
		return invalid("embedded servers keep the state on all of --cluster; --replicas goes with --nats", "--replicas without --nats")
	case !slices.Contains([]int{0, 1, 3, 5}, c.replicas):
		return invalid("give 1, 3 or 5", "--replicas %d", c.replicas)
	}
	if n := len(c.members); n != 0 && n != 3 && n != 5 {
		return invalid("name three or five, this one too: --cluster c1=10.0.0.1:6222,c2=10.0.0.2:6222,c3=10.0.0.3:6222",
			"--cluster of %d: three can do without one of them, five without two; other numbers add nothing", n)
	}
	if err := snapline.CheckName("coordinator", o.name); err != nil {
		return invalid("--name c1", "--name: %v", err)
	}
	return nil
}

// embed makes the embedded server one of the cluster's, if there is one.
func (o clusterOptions) embed(so *nats.ServerOptions, all coordinatorOptions, a *authority) error {
	if len(o.members) == 0 {
		return nil
	}
	c := &nats.Cluster{Name: all.name, Members: map[string]string{}}
	for _, m := range o.members {
		name, at, ok := strings.Cut(m, "=")
		if err := snapline.CheckName("coordinator", name); !ok || err != nil || c.Members[name] != "" {
			return invalid("write --cluster c1=10.0.0.1:6222,c2=10.0.0.2:6222,c3=10.0.0.3:6222", "--cluster %s: each coordinator once, as NAME=HOST:PORT", m)
		}
		if host, port, err := net.SplitHostPort(at); err != nil || host == "" || port == "" {
			return invalid("write --cluster "+name+"=10.0.0.1:6222", "--cluster %s: say where it listens as HOST:PORT", m)
		}
		for other, there := range c.Members {
			if there == at {
				return invalid("give each an address of its own", "--cluster: %s and %s are both at %s", other, name, at)
			}
		}
		c.Members[name] = at
		if err := exposed(at); a == nil && err != nil {
			return &snapline.Error{Code: snapline.CodeRefused, Message: "--cluster: " + err.Error(), Hint: "make an authority: snapline init, and copy its directory to the other coordinators; or stay on this machine: 127.0.0.1:PORT"}
		}
	}
	if c.Members[all.name] == "" {
		return invalid("give --name with one of those names", "--cluster does not say where %s listens", all.name)
	}
	if a != nil {
		c.TLS = a.holder.Peer(snapline.KindCoordinator)
	}
	so.Cluster = c
	so.Dir = filepath.Join(all.data, "cluster") // a server that stood alone does not bring its state along
	return nil
}

// turns is one of several coordinators.
type turns struct {
	coordinatorOptions
	config    node.CoordinatorConfig
	server    api.Server
	conn      *nats.Conn
	authority *authority // nil: none
	manager   *serviceManager
	leading   atomic.Pointer[node.Coordinator] // nil: standing by
}

// alive is what the service manager asks. Whoever stands by is watched by the
// others, which need it only when it leads.
func (t *turns) alive() bool {
	c := t.leading.Load()
	return c == nil || c.Alive()
}

// run serves the API as a standby, and leads whenever it is this coordinator's
// turn, until ctx ends.
func (t *turns) run(ctx context.Context, listeners []net.Listener) error {
	log := t.config.Log
	candidate := &node.Candidate{Name: t.name, Log: log}
	standby := &api.Standby{Name: t.name, Leader: candidate.Leader}
	all, ctx := errgroup.WithContext(ctx)
	for _, l := range listeners {
		all.Go(func() error { return t.server.ServeHandler(ctx, l, standby) })
	}
	all.Go(func() error {
		serves := make(chan struct{})
		close(serves) // as a standby
		t.manager.follow(ctx, serves, t.alive)
		return nil
	})
	all.Go(func() error {
		replicas := t.cluster.replicas
		if n := len(t.cluster.members); n > 0 {
			log.Info("opening the store, which takes a majority of the coordinators", "name", t.name)
			replicas = n
		}
		store, err := nats.OpenStore(ctx, t.conn, nats.StoreOptions{Bucket: storeBucket, Replicas: replicas})
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		candidate.Store, t.config.Store = store, store
		if a := t.authority; a != nil {
			if err := a.read(ctx, store); err != nil {
				return err
			}
			all.Go(func() error { return a.run(ctx) })
			all.Go(func() error { return a.follow(ctx, store) })
		}
		return candidate.Run(ctx, func(ctx context.Context, term *node.Term) error { return t.lead(ctx, term, standby) })
	})
	return all.Wait()
}

// lead is this coordinator's turn.
func (t *turns) lead(ctx context.Context, term *node.Term, standby *api.Standby) error {
	config, server := t.config, t.server
	config.Term = term
	c, err := node.NewCoordinator(config)
	if err != nil {
		return err
	}
	server.Service = c
	if a := t.authority; a != nil {
		if err := a.Load(ctx, config.Store, a.seed); err != nil {
			return err
		}
		quiet, err := a.Serve(t.conn)
		if err != nil {
			return err
		}
		defer quiet()
	}
	defer t.leading.Store(nil)
	go func() {
		select {
		case <-c.Ready():
			config.Log.Info("coordinator is ready", "name", t.name, "term", term.Number(), "api", strings.Join(t.http, ","),
				"agents", strings.TrimPrefix(t.listen+","+t.external, ","), "repository", location.Redact(config.Location), "tls", t.authority != nil)
			t.leading.Store(c)
			standby.Lead(ctx, server.Handler())
		case <-ctx.Done():
		}
	}()
	return c.Run(ctx)
}

// followEvery is how often a coordinator looks at what the one that leads has
// changed in the register: after that time a revocation has its effect on the
// connections to this one, too.
const followEvery = time.Second

// follow keeps up with the register that another coordinator writes, until ctx
// ends.
func (a *authority) follow(ctx context.Context, store snapline.Store) error {
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := a.Load(ctx, store, a.seed); err != nil {
			a.log.Debug("read the register", "error", err)
			continue
		}
		a.sweep()
	}
}
