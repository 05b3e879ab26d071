package disk

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
)

// backend is what a node's file name says about where its bytes are.
type backend struct {
	driver string // of the lowest layer: file, host_device, nbd, …
	path   string // for file: as QEMU was told, perhaps relative
}

// parseBackend reads a file name as QMP and qemu-img report it: a path,
// "protocol:…", or "json:{…}" when a path cannot say everything.
func parseBackend(name string) (backend, error) {
	if object, ok := strings.CutPrefix(name, "json:"); ok {
		var node pseudoNode
		if err := json.Unmarshal([]byte(object), &node); err != nil {
			return backend{}, fmt.Errorf("file name %.80q: %w", name, err)
		}
		return node.lowest(name)
	}
	before, after, found := strings.Cut(name, ":")
	switch {
	case !found || strings.Contains(before, "/"):
		return backend{"file", name}, nil
	case before == "file":
		return backend{"file", after}, nil
	}
	return backend{driver: before}, nil
}

// pseudoNode is a node in a pseudo file name, backing file left out.
type pseudoNode struct {
	Driver   string          `json:"driver"`
	Filename string          `json:"filename"`
	File     json.RawMessage `json:"file"`
	Offset   json.RawMessage `json:"offset"`
	Size     json.RawMessage `json:"size"`
	DataFile json.RawMessage `json:"data-file"`
}

// lowest follows the file children; only the plain kinds have one.
func (n pseudoNode) lowest(name string) (backend, error) {
	switch {
	case n.File == nil:
		return backend{n.Driver, n.Filename}, nil
	case n.Driver != "raw" && n.Driver != "qcow2":
		return backend{driver: n.Driver}, nil
	case n.Driver == "raw" && (n.Offset != nil || n.Size != nil):
		return backend{driver: "raw with an offset or size"}, nil
	case n.DataFile != nil:
		return backend{driver: "qcow2 with an external data file"}, nil
	}
	var inner pseudoNode
	if err := json.Unmarshal(n.File, &inner); err != nil {
		return backend{}, fmt.Errorf("file name %.80q: %w", name, err)
	}
	return inner.lowest(name)
}

// localPath is the absolute path of a plain file; an error says what else it is.
func localPath(name, dir string) (string, error) {
	b, err := parseBackend(name)
	if err != nil {
		return "", err
	}
	switch {
	case b.driver == "host_device" || b.driver == "host_cdrom":
		return "", fmt.Errorf("%s is a block device, not a file", b.path)
	case b.driver != "file":
		return "", fmt.Errorf("%.120s is not a local file but %s", name, b.driver)
	case b.path == "":
		return "", fmt.Errorf("%.120s names no file", name)
	case strings.HasPrefix(b.path, "/dev/fdset/"):
		return "", fmt.Errorf("%s is a file descriptor that another process handed over", b.path)
	case !filepath.IsAbs(b.path):
		return filepath.Join(dir, b.path), nil
	}
	return filepath.Clean(b.path), nil
}
