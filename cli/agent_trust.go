package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/nats"
	"github.com/snapline/snapline/trust"
)

// joinFlags say with what a host joins.
type joinFlags struct {
	token     string
	tokenFile string
}

const envToken = "SNAPLINE_TOKEN"

func (f *joinFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.token, "token", "", "join `TOKEN` of `snapline token create`, needed once (env "+envToken+"); others on this machine may see it, --token-file they may not")
	fs.StringVar(&f.tokenFile, "token-file", "", "`FILE` with the join token; it need not be there any more once the host has joined")
}

// read returns the token that was given; false when there is none.
func (f *joinFlags) read(d Deps) (trust.Token, bool, error) {
	text := f.token
	if f.token != "" && f.tokenFile != "" {
		return trust.Token{}, false, invalid("give one of them", "both --token and --token-file are given")
	}
	switch {
	case text != "":
	case f.tokenFile != "":
		b, err := readSecret("token file", f.tokenFile)
		if _, gone := os.Stat(f.tokenFile); trust.Missing(gone) {
			return trust.Token{}, false, nil
		}
		if err != nil {
			return trust.Token{}, false, err
		}
		text = string(b)
	default:
		if text, _ = d.Env(envToken); text == "" {
			return trust.Token{}, false, nil
		}
	}
	t, err := trust.ParseToken(text)
	if err != nil {
		return t, false, invalid("make one: snapline token create --host NAME", "%v", err)
	}
	return t, true, nil
}

// identity is what an agent has to show; nil in clear, on one machine.
type identity struct {
	holder *trust.Holder
	path   string
}

// joinEvery is how often a host that joins looks for the coordinator.
const joinEvery = 2 * time.Second

// identify finds the agent's credential, and joins by the token if there is
// none, or if the token is another than the one it has joined with.
func (o agentOptions) identify(ctx context.Context, data string, log *slog.Logger) (*identity, error) {
	token, given, err := o.token.read(processDeps())
	if err != nil {
		return nil, err
	}
	id := &identity{path: filepath.Join(data, "credential.pem")}
	joinedBy := filepath.Join(data, "credential.token") // the id of the token, which is no secret
	c, err := trust.ReadCredential(id.path)
	missing := trust.Missing(err)
	if err != nil && !missing {
		return nil, credentialError(id.path, err)
	}
	if given {
		if before, err := os.ReadFile(joinedBy); missing || err != nil || strings.TrimSpace(string(before)) != token.ID() {
			if c, err = o.enrol(ctx, token, log); err != nil {
				return nil, err
			}
			if err := errors.Join(os.MkdirAll(data, 0o700), c.Write(id.path), os.WriteFile(joinedBy, []byte(token.ID()+"\n"), 0o600)); err != nil {
				return nil, fmt.Errorf("keep the credential: %w", err)
			}
			missing = false
		}
	}
	again := "make a token there: snapline token create --host " + o.name + ", and start this agent with --token TOKEN"
	if missing {
		if err := exposed(o.join); err != nil {
			return nil, &snapline.Error{Code: snapline.CodeRefused, Hint: again,
				Message: fmt.Sprintf("this host has not joined: there is no %s, and nothing is said in clear to a coordinator on another machine", id.path)}
		}
		log.Info("this host has no certificate: it speaks in clear, with a coordinator on this machine that wants none")
		return nil, nil
	}
	if want := snapline.NewPrincipal(snapline.KindAgent, o.name); c.Principal() != want {
		return nil, &snapline.Error{Code: snapline.CodeRefused, Message: fmt.Sprintf("%s is the credential of %s, not of %s", id.path, c.Principal(), want),
			Hint: "start the agent with its --name, or with another --data; " + again}
	}
	if time.Now().After(c.Expires()) {
		return nil, &snapline.Error{Code: snapline.CodeDenied, Message: fmt.Sprintf("the certificate of this host ended at %s", c.Expires().Format(time.RFC3339)), Hint: again}
	}
	id.holder = trust.NewHolder(c, nil)
	return id, nil
}

// enrol asks the coordinator to admit this host. It waits for a coordinator that
// is not there yet, and for none that says no.
func (o agentOptions) enrol(ctx context.Context, t trust.Token, log *slog.Logger) (*trust.Credential, error) {
	said := ""
	for {
		c, err := o.enrolOnce(ctx, t)
		if err == nil {
			log.Info("this host has joined", "principal", c.Principal(), "authority", c.Fingerprint())
			return c, nil
		}
		var e *snapline.Error
		switch {
		case errors.As(err, &e) && e.Code != snapline.CodeUnavailable:
			return nil, e
		case errors.Is(err, nats.ErrRefused):
			return nil, &snapline.Error{Code: snapline.CodeDenied, Message: "the coordinator does not take the token: it was used already, has expired, was revoked, or was never made",
				Hint: "make another there: snapline token create --host " + o.name, Err: err}
		case errors.Is(err, trust.ErrWrongCluster):
			return nil, &snapline.Error{Code: snapline.CodeDenied, Message: fmt.Sprintf("%s: %v; nothing was said to it", o.join, trust.ErrWrongCluster),
				Hint: "check --join; is the token of another cluster, or is somebody in between?", Err: err}
		}
		if text := err.Error(); text != said {
			said = text
			log.Warn("cannot join yet; trying until the coordinator can be reached", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil, &snapline.Error{Code: snapline.CodeCancelled, Message: "stopped before this host had joined", Err: ctx.Err()}
		case <-time.After(joinEvery):
		}
	}
}

func (o agentOptions) enrolOnce(ctx context.Context, t trust.Token) (*trust.Credential, error) {
	conn, err := nats.Dial(ctx, nats.DialOptions{URL: o.join, As: trust.ToToken(t.ID()), TLS: trust.Pinned(t), Token: t.Password()})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return trust.Join(ctx, conn, t, snapline.HostName(o.name))
}

// dial connects to the coordinator, or to the NATS cluster, as this host.
func (o agentOptions) dial(ctx context.Context, id *identity, log *slog.Logger) (*nats.Conn, error) {
	d := nats.DialOptions{URL: o.join, As: snapline.ToAgent(snapline.HostName(o.name)), Log: log}
	if id != nil {
		d.TLS = id.holder.Client(snapline.KindCoordinator, snapline.KindNATS)
	}
	return nats.Dial(ctx, d)
}

// keep renews the certificate until ctx ends.
func (id *identity) keep(ctx context.Context, conn *nats.Conn, log *slog.Logger) {
	id.holder.Keep(ctx, func(ctx context.Context) (*trust.Credential, error) { return id.holder.Credential().Renew(ctx, conn) },
		func(c *trust.Credential) error { return c.Write(id.path) }, log)
}
