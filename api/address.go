package api

import (
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strings"
)

// DefaultServer is where a coordinator listens unless it is told otherwise.
const DefaultServer = "http://127.0.0.1:7070"

// address is a parsed place to listen at or connect to.
type address struct {
	network string // tcp, unix
	at      string // host:port, absolute path
	tls     bool
}

// parseAddress reads host:port, http://host:port, https://host:port and
// unix:///path.
func parseAddress(s string) (address, error) {
	if path, ok := strings.CutPrefix(s, "unix://"); ok {
		if !filepath.IsAbs(path) {
			return address{}, fmt.Errorf("address %q: a unix socket is written unix:///absolute/path", s)
		}
		return address{network: "unix", at: filepath.Clean(path)}, nil
	}
	host, tls := s, false
	if strings.Contains(s, "://") {
		u, err := url.Parse(s)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
			return address{}, fmt.Errorf("address %q: use http://HOST:PORT, https://HOST:PORT or unix:///PATH", s)
		}
		host, tls = u.Host, u.Scheme == "https"
	}
	name, port, err := net.SplitHostPort(host)
	if err != nil || port == "" || strings.ContainsAny(name, "/ ") {
		return address{}, fmt.Errorf("address %q: use HOST:PORT or unix:///PATH", s)
	}
	return address{network: "tcp", at: host, tls: tls}, nil
}
