package disk

import (
	"context"
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/qemu/qmp"
)

// Discover lists the VM's writable disks, and why some of what the VM writes to
// cannot be frozen. Read-only media and empty drives are passed over. With
// reasons the disks are not all there are.
func Discover(ctx context.Context, m Machine) ([]Disk, []snapline.Reason, error) {
	blocks, err := qmp.Run(ctx, m.Client, queryBlock{})
	if err != nil {
		return nil, nil, err
	}
	dir, err := directory(m.PID)
	if err != nil {
		return nil, nil, err
	}
	d := discovery{machine: m, dir: dir, byPath: map[string]string{}, byID: map[string]bool{}}
	if err := d.machineWide(ctx); err != nil {
		return nil, nil, err
	}
	for _, b := range blocks {
		if b.Inserted == nil || b.Inserted.ReadOnly || b.QDev == "" && b.Device == "" {
			continue
		}
		d.inspect(ctx, b)
	}
	return d.disks, d.reasons, nil
}

type discovery struct {
	machine Machine
	dir     string
	disks   []Disk
	reasons []snapline.Reason
	byPath  map[string]string // who uses a file
	byID    map[string]bool
}

func (d *discovery) refuse(hint, format string, args ...any) {
	d.reasons = append(d.reasons, snapline.Reason{Member: d.machine.Name, Text: fmt.Sprintf(format, args...), Hint: hint})
}

// machineWide judges what is not one disk's matter.
func (d *discovery) machineWide(ctx context.Context) error {
	jobs, err := qmp.Run(ctx, d.machine.Client, queryJobs{})
	if err != nil {
		return err
	}
	for _, j := range jobs {
		switch {
		case strings.HasPrefix(j.ID, ownPrefix):
			d.refuse("wait for its end", "the disks of an earlier snapshot are still being merged")
		case j.Status != "concluded" && j.Status != "null":
			d.refuse("wait for its end, or cancel it", "job %s (%s) is working on its disks", j.ID, j.Type)
		}
	}
	exports, err := qmp.Run(ctx, d.machine.Client, queryExports{})
	if err != nil && !qmp.IsRefused(err) { // QEMU before 5.2 has no such command
		return err
	}
	for _, e := range exports {
		d.refuse("end the export", "node %s is exported to others (%s export %s)", e.Node, e.Type, e.ID)
	}
	return d.devices(ctx)
}

// inspect adds one disk or the reason against it.
func (d *discovery) inspect(ctx context.Context, b block) {
	id := d.name(b)
	disk, err := d.describe(ctx, id, b.Inserted)
	if err == nil {
		err = d.checkShared(ctx, b.QDev)
	}
	if err == nil {
		disk.hold, err = d.needsHold(ctx, b.QDev)
	}
	if err != nil {
		d.refuse("", "disk %s cannot be captured: %v", id, err)
		return
	}
	if other, ok := d.byPath[disk.Path]; ok {
		d.refuse("", "disks %s and %s are the same file %s", other, id, disk.Path)
		return
	}
	d.byPath[disk.Path] = id
	d.disks = append(d.disks, disk)
}

var unsafeInID = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// name is what the configuration calls the disk, in characters that suit file
// names.
func (d *discovery) name(b block) string {
	id := b.Device
	if id == "" && !strings.Contains(b.QDev, "/peripheral-anon/") {
		id = strings.TrimPrefix(strings.TrimSuffix(b.QDev, "/virtio-backend"), "/machine/peripheral/")
	}
	if id == "" && !strings.HasPrefix(b.Inserted.Node, "#") {
		id = b.Inserted.Node
	}
	if id == "" {
		id = path.Base(strings.TrimSuffix(b.QDev, "/virtio-backend"))
	}
	id = strings.Trim(unsafeInID.ReplaceAllString(id, "-"), "-.")
	for plain, n := id, 2; id == "" || d.byID[id]; n++ {
		id = fmt.Sprintf("%s-%d", plain, n)
	}
	d.byID[id] = true
	return id
}

// describe finds out all that is needed, or why the disk cannot be captured.
func (d *discovery) describe(ctx context.Context, id string, in *inserted) (Disk, error) {
	if strings.HasPrefix(in.Node, ownPrefix) {
		return Disk{}, fmt.Errorf("it still runs on the overlay of an earlier snapshot (%s): adopt the VM again, which merges it", in.File)
	}
	if in.Encrypted {
		return Disk{}, fmt.Errorf("it is encrypted by QEMU")
	}
	format := in.Driver
	switch format {
	case "file":
		format = "raw"
	case "raw", "qcow2":
	default:
		return Disk{}, fmt.Errorf("%s is of kind %s; only qcow2 and raw files directly under the device can be", in.File, in.Driver)
	}
	file, err := localPath(in.File, d.dir)
	if err != nil {
		return Disk{}, err
	}
	if err := d.checkOpen(file); err != nil {
		return Disk{}, err
	}
	if err := checkRoom(file, in.Image.VirtualSize); err != nil {
		return Disk{}, err
	}
	files, err := chain(ctx, file, format)
	if err != nil {
		return Disk{}, err
	}
	if err := checkChain(files, path.Dir(file)); err != nil {
		return Disk{}, err
	}
	return Disk{ID: id, Node: in.Node, Path: file, Format: format, Size: in.Image.VirtualSize, files: files, cache: in.Cache}, nil
}

// needsHold reports whether the device is, or may be, of a kind for which
// Machine.Hold exists.
func (d *discovery) needsHold(ctx context.Context, qdev string) (bool, error) {
	raw, err := qmp.Run(ctx, d.machine.Client, qmp.QOMGet{Path: object(qdev), Property: "type"})
	if err != nil && !qmp.IsRefused(err) {
		return false, err
	}
	for _, safe := range []string{"virtio-", "scsi-", "cfi.pflash"} {
		if strings.HasPrefix(strings.Trim(string(raw), `"`), safe) {
			return false, nil
		}
	}
	if d.machine.Hold == nil {
		return false, fmt.Errorf("its device %s is neither virtio nor SCSI, and the VM would have to be stopped for a moment afterwards", qdev)
	}
	return true, nil
}

// object is the QOM path of a block device's device.
func object(qdev string) string {
	if strings.HasPrefix(qdev, "/") {
		return qdev
	}
	return "/machine/peripheral/" + qdev
}

// checkShared refuses a disk that others may write to as well.
func (d *discovery) checkShared(ctx context.Context, qdev string) error {
	raw, err := qmp.Run(ctx, d.machine.Client, qmp.QOMGet{Path: object(qdev), Property: "share-rw"})
	if err != nil && !qmp.IsRefused(err) { // refused: the device has no such property
		return err
	}
	if string(raw) == "true" {
		return errors.New("others may write to it, too (share-rw=on)")
	}
	return nil
}

// checkOpen wants a local file, and the one that QEMU has open.
func (d *discovery) checkOpen(file string) error {
	if err := checkFile(file); err != nil {
		return err
	}
	id, err := identify(file)
	if err != nil {
		return err
	}
	open, err := holds(d.machine.PID, id)
	if err == nil && !open {
		err = fmt.Errorf("QEMU has another file open than the one that is at %s now: it was replaced, or QEMU sees other mounts", file)
	}
	return err
}

// checkChain judges every file, and makes its name a path.
func checkChain(files []image, dir string) error {
	for i := range files {
		f := &files[i]
		name, err := localPath(f.Filename, dir)
		if err != nil {
			return err
		}
		f.Filename = name
		if err := checkFile(name); err != nil {
			return err
		}
		switch {
		case f.Format != "raw" && f.Format != "qcow2":
			return fmt.Errorf("%s is of format %s; only qcow2 and raw can be captured", name, f.Format)
		case f.Encrypted:
			return fmt.Errorf("%s is encrypted", name)
		case f.Specific.Data.DataFile != "":
			return fmt.Errorf("%s keeps its data in another file (%s)", name, f.Specific.Data.DataFile)
		case f.Specific.Data.Corrupt:
			return fmt.Errorf("%s is marked corrupt: see qemu-img check", name)
		}
		dir = path.Dir(name)
	}
	return nil
}
