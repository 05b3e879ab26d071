package bpf

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// tcxLinks hold programs to an interface until they are closed, by us or by the
// end of the process.
type tcxLinks []link.Link

func attachTCX(objs *gateObjects, index int) (attachment, error) {
	var links tcxLinks
	for _, a := range []struct {
		at      ebpf.AttachType
		program *ebpf.Program
		name    string
	}{
		{ebpf.AttachTCXIngress, objs.FromVm, "ingress"},
		{ebpf.AttachTCXEgress, objs.ToVm, "egress"},
	} {
		l, err := link.AttachTCX(link.TCXOptions{
			Interface: index,
			Program:   a.program,
			Attach:    a.at,
			Anchor:    link.Head(), // see "Where in the path" in doc.go
		})
		if err != nil {
			return nil, errors.Join(fmt.Errorf("tcx %s: %w", a.name, err), links.detach())
		}
		links = append(links, l)
	}
	return links, nil
}

func (l tcxLinks) detach() error {
	var errs []error
	for _, one := range l {
		errs = append(errs, one.Close())
	}
	return errors.Join(errs...)
}
