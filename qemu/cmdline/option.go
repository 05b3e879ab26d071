package cmdline

import "strings"

// Option is one option of a QEMU command line.
type Option struct {
	// Name is without dashes; empty for a bare argument, which QEMU takes for
	// the first hard disk's image.
	Name string
	// Value is the argument; meaningless when the option takes none.
	Value string
}

// flags are the options that take no argument, of all QEMU versions since 2.
var flags = map[string]bool{
	"h": true, "help": true, "version": true, "audio-help": true,
	"mem-prealloc": true, "snapshot": true, "usb": true, "nographic": true,
	"portrait": true, "full-screen": true, "win2k-hack": true, "sdl": true,
	"curses": true, "alt-grab": true, "ctrl-grab": true, "no-quit": true,
	"no-frame": true, "no-fd-bootchk": true, "no-acpi": true, "no-hpet": true,
	"singlestep": true, "preconfig": true, "S": true, "s": true,
	"enable-kvm": true, "no-kvm": true, "no-kvm-irqchip": true,
	"no-kvm-pit": true, "no-kvm-pit-reinjection": true, "enable-hax": true,
	"xen-attach": true, "xen-domid-restrict": true, "no-reboot": true,
	"no-shutdown": true, "daemonize": true, "only-migratable": true,
	"nodefaults": true, "no-user-config": true, "nodefconfig": true,
	"enable-sync-profile": true, "enable-fips": true, "semihosting": true,
	"old-param": true, "async-teardown": true, "perfmap": true, "jitdump": true,
}

// Parse splits a command line, without the program's name, into its options.
func Parse(args []string) []Option {
	var opts []Option
	for i := 0; i < len(args); i++ {
		a := args[i]
		name, dash := strings.CutPrefix(a, "-")
		name = strings.TrimPrefix(name, "-")
		if !dash || name == "" || name[0] == '-' { // no option of QEMU's
			opts = append(opts, Option{Value: a})
			continue
		}
		o := Option{Name: name}
		if !flags[o.Name] && i+1 < len(args) {
			i++
			o.Value = args[i]
		}
		opts = append(opts, o)
	}
	return opts
}

// Render is the inverse of Parse.
func Render(opts []Option) []string {
	args := make([]string, 0, 2*len(opts))
	for _, o := range opts {
		switch {
		case o.Name == "":
			args = append(args, o.Value)
		case flags[o.Name]:
			args = append(args, "-"+o.Name)
		default:
			args = append(args, "-"+o.Name, o.Value)
		}
	}
	return args
}

// Last returns the value of the last option of that name.
func Last(opts []Option, name string) (string, bool) {
	for i := len(opts) - 1; i >= 0; i-- {
		if opts[i].Name == name {
			return opts[i].Value, true
		}
	}
	return "", false
}
