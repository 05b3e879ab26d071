package cmdline

import (
	"path/filepath"
	"strings"
)

// HasQMP reports whether the command line makes a QMP monitor that listens at
// path; relative paths in it start from dir.
func HasQMP(opts []Option, dir, path string) bool {
	control := map[string]bool{} // chardevs that -mon makes QMP monitors
	for _, o := range opts {
		if o.Name == "mon" {
			if p := ParseParams(o.Value); p.Get("mode") == "control" {
				control[p.Implied("chardev")] = true
			}
		}
	}
	for _, o := range opts {
		p := ParseParams(o.Value)
		var socket string
		switch {
		case o.Name == "qmp" || o.Name == "qmp-pretty":
			socket, _ = unixPath(p)
		case o.Name == "chardev" && control[p.Get("id")]:
			socket = p.Get("path")
		}
		if socket != "" && absolute(dir, socket) == filepath.Clean(path) {
			return true
		}
	}
	return false
}

// unixPath reads "unix:PATH,…" of -qmp, -serial and the like.
func unixPath(p Params) (string, bool) {
	if len(p) == 0 {
		return "", false
	}
	word := p[0].Key
	if !p[0].Bare { // a path with '=' in it
		word += "=" + p[0].Value
	}
	return strings.CutPrefix(word, "unix:")
}

func absolute(dir, path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(dir, path)
}
