package qemu

import (
	"fmt"
	"path/filepath"
	"strings"
)

// diskDirs maps directories of the hosts where machines were captured to those
// that take their place here.
type diskDirs map[string]string

func newDiskDirs(o map[string]string) (diskDirs, error) {
	dirs := diskDirs{}
	for from, to := range o {
		if !filepath.IsAbs(from) || !filepath.IsAbs(to) {
			return nil, fmt.Errorf("disk directory %s=%s: give absolute paths", from, to)
		}
		dirs[filepath.Clean(from)] = filepath.Clean(to)
	}
	return dirs, nil
}

// local is the path here for one where a machine was captured. The longest
// directory that is mapped counts; other paths stay as they are.
func (d diskDirs) local(captured string) string {
	for dir := filepath.Clean(captured); ; dir = filepath.Dir(dir) {
		if to, ok := d[dir]; ok {
			return filepath.Join(to, strings.TrimPrefix(captured, dir))
		}
		if dir == filepath.Dir(dir) {
			return captured
		}
	}
}
