package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/api"
	"github.com/snapline/snapline/nats"
	"github.com/snapline/snapline/node"
	"github.com/snapline/snapline/repository/location"
	"github.com/snapline/snapline/trust"
)

// storeBucket is the key-value bucket that holds the coordinator's state.
const storeBucket = "snapline"

type coordinatorOptions struct {
	listen    string
	external  string
	http      []string
	name      string
	data      string
	repo      repositoryFlags
	storage   storageFlags
	cluster   clusterOptions
	codepoint uint8
	// quarantine of restored members
	quarantine time.Duration
	lease      time.Duration
	log        logOptions
	// Lives of certificates, for tests of their renewal.
	agentLife, userLife time.Duration
}

// NewCoordinatorCommand returns "snapline coordinator".
func NewCoordinatorCommand() *cobra.Command {
	var o coordinatorOptions
	cmd := &cobra.Command{
		Use:   "coordinator --listen HOST:PORT --data DIR --repo DIR",
		Short: "Run the coordinator: it leads rounds and restores and serves the API",
		Long: `Run the coordinator: it leads rounds and restores and serves the API.

Its control plane is an embedded NATS server that agents dial (--listen); an
existing NATS cluster with JetStream can be used instead (--nats).

Where "snapline init" has made an authority in --data, it speaks TLS and lets in who
has a certificate: hosts that joined by a token, users by --http. Without an authority
it serves this machine only: loopback addresses and unix sockets, on which anybody who
can reach them is an operator.

Several coordinators can share the work of one: one of them leads, and another
takes over when it fails. Give each a --name. With --cluster their embedded servers
keep the state together, which needs more than half of them; with --nats and --share
an existing cluster keeps it. Agents are told all --listen addresses, and users all
APIs (--server URL,URL,URL).

The repository is made once, with "snapline repo init". Agents are told where it
is; what opens it they must be given themselves, and for S3 the credentials too
(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY).`,
		Example: `  snapline init --data /var/lib/snapline/coordinator
  snapline repo init --repo /srv/snapline --key-file /etc/snapline/key
  snapline coordinator --listen 10.0.0.1:4222 --data /var/lib/snapline/coordinator --repo /srv/snapline --key-file /etc/snapline/key
  snapline coordinator --name c1 --cluster c1=10.0.0.1:6222,c2=10.0.0.2:6222,c3=10.0.0.3:6222 --listen 10.0.0.1:4222 --data DIR --repo DIR --key-file FILE
  snapline coordinator --nats nats://n1:4222,nats://n2:4222 --data DIR --repo 's3://backups/lab?endpoint=https://s3.example.com' --key-file FILE`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runCoordinator(cmd.Context(), o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.listen, "listen", "", "address that agents dial, HOST:PORT")
	f.StringVar(&o.external, "nats", "", "use this NATS cluster instead of an embedded server, URL[,URL...]")
	f.StringArrayVar(&o.http, "http", []string{"127.0.0.1:7070"}, "where to serve the API: HOST:PORT or unix:///path, whose file only this user can open (repeatable)")
	f.StringVar(&o.name, "name", "c1", "the coordinator's name among several, and in its certificate")
	f.StringVar(&o.data, "data", "", "directory for the coordinator's state")
	o.cluster.flags(f)
	o.repo.register(f)
	o.storage.register(f)
	f.Uint8Var(&o.codepoint, "codepoint", uint8(snapline.PostCodepoint), "DSCP value that marks packets sent after a cut")
	f.DurationVar(&o.lease, "lease", snapline.DefaultLease, "how long a host runs members of protected groups without a word from here; then they are brought back elsewhere")
	f.DurationVar(&o.quarantine, "quarantine", snapline.DefaultQuarantine, "how long restored VMs refuse packets that the group sent before the restore")
	o.log.flags(f)
	f.DurationVar(&o.agentLife, "test-agent-life", 0, "")
	f.DurationVar(&o.userLife, "test-user-life", 0, "")
	if err := errors.Join(f.MarkHidden("test-agent-life"), f.MarkHidden("test-user-life")); err != nil {
		panic(err)
	}
	cmd.MarkFlagsOneRequired("listen", "nats")
	cmd.MarkFlagsMutuallyExclusive("listen", "nats")
	cmd.MarkFlagsMutuallyExclusive("cluster", "nats")
	if err := cmd.MarkFlagRequired("data"); err != nil {
		panic(err)
	}
	return cmd
}

func runCoordinator(ctx context.Context, o coordinatorOptions) error {
	if o.listen+o.external == "" {
		return invalid("as a service: see /etc/default/snapline-coordinator", "--listen is empty")
	}
	if err := o.checkCluster(); err != nil {
		return err
	}
	log, trace, err := o.log.open(o.data)
	if err != nil {
		return err
	}
	defer trace.close()
	manager := newServiceManager(log)
	at, err := absoluteLocation(o.repo.where(processDeps()))
	if err != nil {
		return err
	}
	secret, err := o.repo.secret(ctx, processDeps())
	if err != nil {
		return err
	}
	options, err := o.storage.options(o.data)
	if err != nil {
		return err
	}
	repository, err := openRepository(ctx, at, secret, options)
	if err != nil {
		return err
	}
	defer repository.Close()
	if err := os.MkdirAll(o.data, 0o700); err != nil {
		return err
	}
	open := &guard{audit: trust.NewAuditLog(auditPath(o.data))}
	a, err := openAuthority(o, open, log)
	if err != nil {
		return err
	}
	conn, stop, err := controlPlane(ctx, o, a, log)
	if err != nil {
		return err
	}
	defer stop()
	config := node.CoordinatorConfig{Bus: conn, Repository: repository, Location: at,
		Post: snapline.Codepoint(o.codepoint), Lease: o.lease, Quarantine: o.quarantine, Log: log, Trace: trace.line}
	server := api.Server{Version: BuildVersion(), Log: log, Trust: open, Audit: open.audit.Append}
	if a != nil {
		server.Trust, server.TLS, server.Identify = a, a.holder.Server(), a.identify
	}
	listeners, closeAll, err := listenAll(o.http)
	if err != nil {
		return err
	}
	defer closeAll()
	if o.shared() {
		t := &turns{coordinatorOptions: o, config: config, server: server, conn: conn, authority: a, manager: manager}
		return t.run(ctx, listeners)
	}
	store, err := nats.OpenStore(ctx, conn, nats.StoreOptions{Bucket: storeBucket, Replicas: o.cluster.replicas})
	if err != nil {
		return err
	}
	config.Store = store
	c, err := node.NewCoordinator(config)
	if err != nil {
		return &snapline.Error{Code: snapline.CodeInvalid, Message: err.Error()}
	}
	server.Service = c
	if a != nil {
		quiet, err := a.start(ctx, store, conn)
		if err != nil {
			return err
		}
		defer quiet()
	}
	all, ctx := errgroup.WithContext(ctx)
	all.Go(func() error { return c.Run(ctx) })
	if a != nil {
		all.Go(func() error { return a.run(ctx) })
	}
	all.Go(func() error {
		manager.follow(ctx, c.Ready(), c.Alive)
		return nil
	})
	all.Go(func() error {
		select {
		case <-c.Ready():
		case <-ctx.Done():
			return nil
		}
		log.Info("coordinator is ready", "api", strings.Join(o.http, ","), "agents", strings.TrimPrefix(o.listen+o.external, ","), "repository", location.Redact(at), "tls", a != nil)
		for _, l := range listeners {
			all.Go(func() error { return server.Serve(ctx, l) })
		}
		return nil
	})
	return all.Wait()
}

// listenAll listens at all of some addresses, or at none.
func listenAll(addresses []string) (all []net.Listener, closeAll func(), err error) {
	closeAll = func() {
		for _, l := range all {
			l.Close()
		}
	}
	for _, a := range addresses {
		l, err := api.Listen(a)
		if err != nil {
			closeAll()
			return nil, nil, err
		}
		all = append(all, l)
	}
	return all, closeAll, nil
}

// absoluteLocation is a location as hosts can be told it.
func absoluteLocation(at string) (string, error) {
	if at == "" || strings.Contains(at, "://") {
		return at, nil // its own error, or absolute already
	}
	return filepath.Abs(at)
}

// controlPlane starts the embedded server, or dials the external one.
func controlPlane(ctx context.Context, o coordinatorOptions, a *authority, log *slog.Logger) (*nats.Conn, func(), error) {
	dial := nats.DialOptions{URL: o.external, As: snapline.ToCoordinator, Log: log}
	stop := func() {}
	if o.external == "" {
		so := nats.ServerOptions{Listen: o.listen, Dir: filepath.Join(o.data, "nats"), Log: log}
		if a != nil {
			so.TLS, so.Authenticate = a.holder.Server(), a.login
		}
		if err := o.cluster.embed(&so, o, a); err != nil {
			return nil, nil, err
		}
		server, err := nats.StartServer(so)
		if err != nil {
			return nil, nil, err
		}
		if a != nil {
			a.server = server
		}
		dial.InProcess, stop = server, server.Shutdown
	}
	if a != nil && o.external != "" && (exposed(o.external) != nil || strings.Contains(o.external, "tls://")) {
		dial.TLS = a.holder.Client(snapline.KindNATS, snapline.KindCoordinator)
	}
	conn, err := nats.Dial(ctx, dial)
	if err != nil {
		stop()
		return nil, nil, err
	}
	wait, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := conn.WaitConnected(wait); err != nil {
		err = errors.Join(fmt.Errorf("reach NATS at %s: %w", o.external, err), conn.Close())
		stop()
		return nil, nil, err
	}
	return conn, func() { _ = conn.Close(); stop() }, nil
}
