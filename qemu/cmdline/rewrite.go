package cmdline

import (
	"fmt"
	"strconv"
	"strings"
)

// Target says what the command line must become.
type Target struct {
	// Machine is the versioned machine type.
	Machine string
	// Accel is the one accelerator to use: kvm, tcg.
	Accel string
	// Taps are the descriptors that replace the tap back ends: for each of
	// Backends with UsesTap, in that order, one number per queue.
	Taps [][]int
	// MACs are the guest's addresses by netdev id, made explicit where the
	// command line leaves them to QEMU.
	MACs map[string]string
	// QMP is the absolute path where the monitor must be; Dir is the working
	// directory that relative paths start from.
	QMP, Dir string
	// Disks are the images that are elsewhere here: the absolute path that the
	// command line means, and the one to open instead.
	Disks map[string]string
}

// dropped are the options that have done their work, or that would tie the new
// process to a terminal or to another stream.
var dropped = map[string]bool{"daemonize": true, "S": true, "incoming": true, "loadvm": true}

// Rewrite returns the arguments that start the same machine paused, waiting
// for its state. Rewriting its own result gives the same again, unless disks
// change places.
func Rewrite(args []string, t Target) ([]string, error) {
	opts := Parse(args)
	if err := t.replaceTaps(opts); err != nil {
		return nil, err
	}
	if err := t.moveDisks(opts); err != nil {
		return nil, err
	}
	var out []Option
	machine, display := false, false
	for _, o := range opts {
		switch {
		case dropped[o.Name]:
			continue
		case o.Name == "machine" || o.Name == "M":
			o.Value = t.machine(o.Value, !machine)
			machine = true
			if o.Value == "" {
				continue
			}
		case o.Name == "accel":
			if ParseParams(o.Value).Implied("accel") != t.Accel {
				continue
			}
		case o.Name == "sdl" || o.Name == "curses":
			o = Option{Name: "display", Value: "none"}
			display = true
		case o.Name == "display":
			o.Value = headless(o.Value)
			display = true
		case o.Name == "nographic" || o.Name == "vnc" || o.Name == "spice":
			display = true
		case o.Name == "device":
			o.Value = t.explicitMAC(o.Value, "netdev")
		case o.Name == "nic":
			o.Value = t.explicitMAC(o.Value, "id")
		default:
			o.Value = noWaiting(o)
		}
		out = append(out, o)
	}
	if !machine {
		out = append(out, Option{"machine", t.machine("", true)})
	}
	if !display {
		out = append(out, Option{"display", "none"})
	}
	if !HasQMP(out, t.Dir, t.QMP) {
		out = append(out, Option{"qmp", Params{
			{Key: "unix:" + t.QMP, Bare: true}, {Key: "server", Value: "on"}, {Key: "wait", Value: "off"},
		}.String()})
	}
	out = append(out, Option{Name: "S"}, Option{"incoming", "defer"})
	return Render(out), nil
}

// replaceTaps puts descriptors in the place of taps.
func (t Target) replaceTaps(opts []Option) error {
	next := 0
	for _, b := range Backends(opts) {
		if !b.UsesTap() {
			continue
		}
		if next == len(t.Taps) {
			return fmt.Errorf("option -%s %s: no tap for it", opts[b.Option].Name, opts[b.Option].Value)
		}
		numbers := make([]string, len(t.Taps[next]))
		for i, fd := range t.Taps[next] {
			numbers[i] = strconv.Itoa(fd)
		}
		opts[b.Option].Value = b.onDescriptor(strings.Join(numbers, ":"), len(numbers) > 1)
		next++
	}
	if next != len(t.Taps) {
		return fmt.Errorf("%d taps for %d tap back ends", len(t.Taps), next)
	}
	return nil
}

// moveDisks has QEMU open the images where they are here. It wants each to be
// named.
func (t Target) moveDisks(opts []Option) error {
	for from, to := range t.Disks {
		if from != to && !Mentions(opts, t.Dir, from) {
			return fmt.Errorf("disk %s is not named on the command line, and so cannot be moved to %s", from, to)
		}
	}
	for i := range opts {
		opts[i].Value = mapImages(opts[i], func(name string) string {
			from := absolute(t.Dir, name)
			if to := t.Disks[from]; to != "" && to != from {
				return to
			}
			return name
		})
	}
	return nil
}

// machine sets type and accelerator in the value of -machine. Of several such
// options QEMU merges the parameters, so the type goes into the first only.
func (t Target) machine(value string, first bool) string {
	p := ParseParams(value)
	if first {
		p = p.WithImplied("type", t.Machine)
	} else if p = p.Without("type"); len(p) > 0 && p[0].Bare {
		p = p[1:]
	}
	if p.Get("accel") != "" {
		p = p.With("accel", t.Accel)
	}
	return p.String()
}

// explicitMAC adds the guest's address to a NIC that leaves it to QEMU.
func (t Target) explicitMAC(value, idKey string) string {
	p := ParseParams(value)
	mac := t.MACs[p.Get(idKey)]
	if mac == "" || p.Get("mac") != "" || p.Get(idKey) == "" {
		return value
	}
	return p.With("mac", mac).String()
}

// headless replaces displays that need somebody's desktop or terminal; the
// guest's devices do not depend on them.
func headless(value string) string {
	switch ParseParams(value).Implied("type") {
	case "gtk", "sdl", "curses", "cocoa", "default":
		return "none"
	}
	return value
}

// noWaiting makes listening character devices not wait for a client before the
// machine starts: theirs died with the machine.
func noWaiting(o Option) string {
	if !takesSocket[o.Name] {
		return o.Value
	}
	p := ParseParams(o.Value)
	if p.Get("server") == "" || p.Get("server") == "off" {
		return o.Value
	}
	if p.Get("wait") == "off" || p.Get("nowait") == "on" {
		return o.Value
	}
	return p.Without("wait", "nowait").With("wait", "off").String()
}

// takesSocket are the options whose argument can be a listening socket.
var takesSocket = map[string]bool{
	"chardev": true, "serial": true, "parallel": true, "monitor": true,
	"qmp": true, "qmp-pretty": true, "debugcon": true, "gdb": true,
}
