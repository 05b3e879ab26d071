package image

import (
	"bytes"
	"debug/elf"
	"fmt"
	"path"
	"strings"
)

// libraryDirs are where Debian keeps shared libraries of amd64.
var libraryDirs = []string{"lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu", "lib64", "usr/lib64"}

// libraries returns the program interpreter and every shared library that a
// program needs, directly or through another, at the paths it expects them.
func libraries(program string, files map[string][]byte, links map[string]string) ([]entry, error) {
	var entries []entry
	seen := make(map[string]bool)
	todo := []string{program}
	for len(todo) > 0 {
		name := todo[0]
		todo = todo[1:]
		data := resolve(name, files, links)
		if data == nil {
			return nil, fmt.Errorf("%s is in none of the packages %q", name, packages)
		}
		f, err := elf.NewFile(bytes.NewReader(data))
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		needed, err := f.ImportedLibraries()
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		var paths []string
		if in := interpreter(f); in != "" {
			paths = append(paths, in)
		}
		for _, lib := range needed {
			paths = append(paths, find(lib, files, links))
		}
		for _, p := range paths {
			if !seen[path.Base(p)] {
				seen[path.Base(p)] = true
				todo = append(todo, p)
				entries = append(entries, file(p, 0o755, resolve(p, files, links)))
			}
		}
	}
	return entries, nil
}

func interpreter(f *elf.File) string {
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			b := make([]byte, p.Filesz)
			if _, err := p.ReadAt(b, 0); err == nil {
				return strings.TrimPrefix(strings.TrimRight(string(b), "\x00"), "/")
			}
		}
	}
	return ""
}

// find returns a library's path; the bare name when no package has it.
func find(lib string, files map[string][]byte, links map[string]string) string {
	for _, d := range libraryDirs {
		if p := path.Join(d, lib); resolve(p, files, links) != nil {
			return p
		}
	}
	return lib
}

// resolve follows links to a file's contents; nil when there is none. Packages
// of a merged-/usr release may name /lib what lies in /usr/lib.
func resolve(name string, files map[string][]byte, links map[string]string) []byte {
	for range 8 {
		if data := files[name]; data != nil {
			return data
		}
		if to, ok := links[name]; ok {
			name = to
			continue
		}
		if strings.HasPrefix(name, "usr/") {
			return nil
		}
		name = path.Join("usr", name)
	}
	return nil
}
