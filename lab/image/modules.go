package image

import (
	"bytes"
	"debug/elf"
	"fmt"
	"strings"
)

// wantedModules are the drivers that a guest of the lab needs and Debian's
// cloud kernel does not have built in. virtio_blk is for guests with a disk.
var wantedModules = []string{"virtio_pci", "virtio_net", "virtio_blk"}

// moduleEntries returns the wanted modules, what they depend on, and
// modules/order, which lists them so that each can be loaded by plain insmod.
func moduleEntries(all map[string][]byte) ([]entry, error) {
	var order []string
	done := make(map[string]bool)
	var visit func(name, by string) error
	visit = func(name, by string) error {
		if done[name] {
			return nil
		}
		done[name] = true
		data, ok := all[name]
		if !ok {
			return fmt.Errorf("the kernel's package has no module %s, which %s needs", name, by)
		}
		deps, err := dependencies(data)
		if err != nil {
			return fmt.Errorf("read module %s: %w", name, err)
		}
		for _, d := range deps {
			if err := visit(d, name); err != nil {
				return err
			}
		}
		order = append(order, name)
		return nil
	}
	for _, name := range wantedModules {
		if err := visit(name, "the guest"); err != nil {
			return nil, err
		}
	}
	entries := []entry{file("modules/order", 0o644, []byte(strings.Join(order, "\n")+"\n"))}
	for _, name := range order {
		entries = append(entries, file("modules/"+name+".ko", 0o644, all[name]))
	}
	return entries, nil
}

// dependencies reads a module's "depends=" field, which modpost puts in the
// ELF section .modinfo as one of its NUL-terminated strings; depmod, which
// would collect them in modules.dep, only runs when a package is installed.
// Modules' file names use '-' and '_' alike, the field only '_'.
func dependencies(module []byte) ([]string, error) {
	f, err := elf.NewFile(bytes.NewReader(module))
	if err != nil {
		return nil, err
	}
	s := f.Section(".modinfo")
	if s == nil {
		return nil, fmt.Errorf("no section .modinfo")
	}
	data, err := s.Data()
	if err != nil {
		return nil, err
	}
	for _, field := range strings.Split(string(data), "\x00") {
		if deps, ok := strings.CutPrefix(field, "depends="); ok && deps != "" {
			return strings.Split(deps, ","), nil
		}
	}
	return nil, nil
}
