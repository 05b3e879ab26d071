package cmdline

import "strings"

// Unrepeatable lists the options with which a machine cannot be started again
// by somebody else, each with the reason.
func Unrepeatable(args []string) []string {
	var why []string
	for _, o := range Parse(args) {
		whole := "-" + o.Name + " " + o.Value
		p := ParseParams(o.Value)
		switch o.Name {
		case "add-fd":
			why = append(why, whole+": a file descriptor that the parent process handed over")
		case "chroot":
			why = append(why, whole+": files are looked up in another root directory")
		case "chardev":
			if p.Get("fd") != "" {
				why = append(why, whole+": a file descriptor that the parent process handed over")
			}
		case "netdev", "nic", "net":
			if t := p.Implied("type"); t != "tap" && t != "nic" && p.Get("fd") != "" {
				why = append(why, whole+": a file descriptor that the parent process handed over")
			}
		case "preconfig":
			why = append(why, whole+": the machine was configured over its monitor")
		case "xen-attach", "xen-domid":
			why = append(why, whole+": a Xen domain is not started by QEMU")
		}
		if strings.HasPrefix(o.Value, "/dev/fdset/") || strings.Contains(o.Value, "=/dev/fdset/") {
			why = append(why, whole+": a file descriptor that the parent process handed over")
		}
	}
	return why
}
