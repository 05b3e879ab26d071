package cmdline

import (
	"path/filepath"
	"strings"
)

// File is a file that a command line names, by its absolute path.
type File struct {
	Path   string
	Option string // the option that names it, without dashes
}

// Inputs lists the files that must exist before QEMU starts. Images that QEMU
// may find in its own data directory (-bios, -device romfile) are listed only
// when they have a directory part.
func Inputs(opts []Option, dir string) []File {
	var files []File
	add := func(option, path string) {
		if path != "" && !strings.Contains(path, "://") {
			files = append(files, File{absolute(dir, path), option})
		}
	}
	for _, o := range opts {
		mapImages(o, func(name string) string {
			add(o.Name, name)
			return name
		})
		p := ParseParams(o.Value)
		switch o.Name {
		case "kernel", "dtb", "readconfig":
			add(o.Name, o.Value)
		case "initrd": // multiboot modules are comma-separated
			for _, module := range splitCommas(o.Value) {
				path, _, _ := strings.Cut(module, " ")
				add(o.Name, path)
			}
		case "bios":
			if strings.Contains(o.Value, "/") {
				add(o.Name, o.Value)
			}
		case "acpitable", "smbios", "fw_cfg":
			add(o.Name, p.Get("file"))
		}
	}
	return files
}

// Outputs lists the files and sockets that QEMU makes itself, whose directories
// must exist.
func Outputs(opts []Option, dir string) []File {
	var files []File
	add := func(option, path string) {
		if path != "" {
			files = append(files, File{absolute(dir, path), option})
		}
	}
	for _, o := range opts {
		if o.Name == "pidfile" || o.Name == "D" {
			add(o.Name, o.Value)
		}
		if !takesSocket[o.Name] {
			continue
		}
		p := ParseParams(o.Value)
		if o.Name == "chardev" {
			if p.Get("server") != "" || p.Implied("backend") == "file" {
				add(o.Name, p.Get("path"))
			}
			continue
		}
		if path, ok := unixPath(p); ok && p.Get("server") != "" {
			add(o.Name, path)
		} else if path, ok := strings.CutPrefix(o.Value, "file:"); ok {
			add(o.Name, path)
		}
	}
	return files
}

// Dirs are the directories of files, each once.
func Dirs(files []File) []string {
	var dirs []string
	seen := map[string]bool{}
	for _, f := range files {
		if d := filepath.Dir(f.Path); !seen[d] {
			seen[d] = true
			dirs = append(dirs, d)
		}
	}
	return dirs
}
