package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/api"
	"github.com/snapline/snapline/trust"
)

const (
	envCredential = "SNAPLINE_CREDENTIAL"
	// secureServer is api.DefaultServer for those who have a credential.
	secureServer = "https://127.0.0.1:7070"
)

// defaultCredential is where a user's credential is looked for; "" when the user
// has no home.
func defaultCredential(d Deps) string {
	if dir, _ := d.Env("XDG_CONFIG_HOME"); dir != "" {
		return filepath.Join(dir, "snapline", "credential.pem")
	}
	if home, _ := d.Env("HOME"); home != "" {
		return filepath.Join(home, ".config", "snapline", "credential.pem")
	}
	return ""
}

// credential reads the one that the flag names, or the environment, or the
// default one if it is there; nil when there is none.
func (e *env) credential() (c *trust.Credential, path string, err error) {
	named := e.credentialFile
	if named == "" {
		named, _ = e.deps.Env(envCredential)
	}
	path = named
	if path == "" {
		path = defaultCredential(e.deps)
	}
	if path == "" {
		return nil, "", nil
	}
	c, err = trust.ReadCredential(path)
	if trust.Missing(err) && named == "" {
		return nil, "", nil
	}
	if err != nil {
		return nil, path, credentialError(path, err)
	}
	return c, path, nil
}

// credentialError gives what reading a credential says a code.
func credentialError(path string, err error) error {
	if errors.As(err, new(*snapline.Error)) {
		return err
	}
	return invalid("an operator makes one with `snapline user add`, the first one with `snapline init`", "credential %s: %v", path, err)
}

// client returns a client of the server that the flag names, or the environment.
func (e *env) client() (*api.Client, error) {
	c, _, err := e.connect()
	return c, err
}

// connect returns a client, and a function that looks after its credential when
// the work is done.
func (e *env) connect() (*api.Client, func(context.Context), error) {
	server := e.server
	if server == "" {
		server, _ = e.deps.Env("SNAPLINE_SERVER")
	}
	nothing := func(context.Context) {}
	if strings.HasPrefix(server, "unix://") { // the kernel knows who asks
		c, err := api.NewClient(server)
		return c, nothing, err
	}
	credential, path, err := e.credential()
	if err != nil {
		return nil, nil, err
	}
	if server == "" {
		server = api.DefaultServer
		if credential != nil {
			server = secureServer
		}
	}
	if clear := !strings.HasPrefix(server, "https://") && (credential == nil || strings.HasPrefix(server, "http://")); clear {
		if err := e.inClear(server, credential != nil); err != nil {
			return nil, nil, err
		}
		c, err := api.NewClient(server)
		return c, nothing, err
	}
	if credential == nil {
		c, err := api.NewClient(server)
		return c, nothing, err
	}
	if time.Now().After(credential.Expires()) {
		return nil, nil, &snapline.Error{Code: snapline.CodeDenied, Message: fmt.Sprintf("the credential %s ended at %s", path, credential.Expires().Format(time.RFC3339)),
			Hint: fmt.Sprintf("an operator can make another: snapline revoke %s; snapline user add %s", credential.Principal(), credential.Principal().Name())}
	}
	holder := trust.NewHolder(credential, nil)
	c, err := api.NewTLSClient(server, holder.Client(snapline.KindCoordinator))
	return c, func(ctx context.Context) { e.renew(ctx, c, holder, path) }, err
}

// inClear refuses to speak in clear with another machine.
func (e *env) inClear(server string, known bool) error {
	host := server
	if u, err := url.Parse(server); err == nil && u.Host != "" {
		host = u.Host
	}
	if exposed(host) == nil {
		return nil
	}
	hint := "name your credential with --credential FILE or " + envCredential
	if known {
		hint = "write https://" + host
	}
	return &snapline.Error{Code: snapline.CodeRefused, Message: server + " is another machine, and nothing is said to it in clear", Hint: hint}
}

// renew gets another certificate when it is time, so that a user who comes now
// and then never has to think of it.
func (e *env) renew(ctx context.Context, c *api.Client, h *trust.Holder, path string) {
	if time.Now().Before(h.Credential().Due()) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	err := func() error {
		r, err := trust.NewRequest()
		if err != nil {
			return err
		}
		issued, err := c.Renew(ctx, r.PEM())
		if err != nil {
			return err
		}
		next, err := r.Credential(issued)
		if err != nil {
			return err
		}
		return next.Write(path)
	}()
	if err != nil {
		e.printer().note("the credential %s ends at %s and could not be renewed: %v", path, h.Credential().Expires().Format(time.RFC3339), err)
	}
}

// exposed says which of some addresses (HOST:PORT, or URLs, with commas between)
// others than this machine can reach; nil: none.
func exposed(addresses string) error {
	for a := range strings.SplitSeq(addresses, ",") {
		if strings.HasPrefix(a, "unix://") {
			continue
		}
		if _, rest, ok := strings.Cut(a, "://"); ok {
			a = rest
		}
		host, _, err := net.SplitHostPort(a)
		if err != nil {
			continue // whoever uses it will say what is wrong
		}
		if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return fmt.Errorf("%s can be reached from other machines", a)
		}
	}
	return nil
}
