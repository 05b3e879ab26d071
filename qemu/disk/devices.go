package disk

import (
	"context"
	"encoding/json"
	"path"
	"strings"

	"github.com/snapline/snapline/qemu/qmp"
)

// outside are the kinds of devices, by the beginning of their names, whose
// storage is not in QEMU's block layer, and where it is instead.
var outside = []struct{ prefix, where string }{
	{"vhost-user-blk", "in another process"},
	{"vhost-user-scsi", "in another process"},
	{"vhost-user-fs", "in a directory of the host, which another process serves"},
	{"vhost-scsi", "in the kernel's SCSI target"},
	{"virtio-9p", "in a directory of the host"},
	{"usb-mtp", "in a directory of the host"},
}

// storedOutside says where a kind of device has its storage; empty if that is
// QEMU's block layer, or if it has none.
func storedOutside(kind string) string {
	for _, o := range outside {
		if strings.HasPrefix(kind, o.prefix) {
			return o.where
		}
	}
	return ""
}

// devices refuses those whose storage the block layer does not know.
func (d *discovery) devices(ctx context.Context) error {
	for _, parent := range []string{"/machine/peripheral", "/machine/peripheral-anon"} {
		devices, err := qmp.Run(ctx, d.machine.Client, qmp.QOMList{Path: parent})
		if err != nil {
			return err
		}
		for _, p := range devices {
			kind := strings.TrimSuffix(strings.TrimPrefix(p.Type, "child<"), ">")
			if where := storedOutside(kind); where != "" {
				d.refuse("give the VM a disk of QEMU's instead", "the data of device %s (%s) is %s, and cannot be rolled back together with the VM", p.Name, kind, where)
				continue
			}
			file, err := d.persistent(ctx, path.Join(parent, p.Name), kind)
			if err != nil {
				return err
			}
			if file != "" {
				d.refuse("give the VM a disk instead, or set share=off or readonly=on", "device %s (%s) writes to the file %s as to memory", p.Name, kind, file)
			}
		}
	}
	return nil
}

// persistent returns the file that a memory device keeps its content in.
func (d *discovery) persistent(ctx context.Context, device, kind string) (string, error) {
	if kind != "nvdimm" && kind != "virtio-pmem-pci" {
		return "", nil
	}
	var backend, file string
	var shared, readOnly bool
	for _, p := range []struct {
		object   *string
		property string
		into     any
	}{{&device, "memdev", &backend}, {&backend, "mem-path", &file}, {&backend, "share", &shared}, {&backend, "readonly", &readOnly}} {
		raw, err := qmp.Run(ctx, d.machine.Client, qmp.QOMGet{Path: *p.object, Property: p.property})
		if qmp.IsRefused(err) {
			continue // memory without a file
		}
		if err != nil {
			return "", err
		}
		if err := json.Unmarshal(raw, p.into); err != nil {
			return "", err
		}
	}
	if !shared || readOnly {
		return "", nil
	}
	return file, nil
}
