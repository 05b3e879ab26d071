package disk_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/snapline/snapline/qemu/disk"
)

// TestDiscover finds every kind of attachment, and overlays of somebody else.
func TestDiscover(t *testing.T) {
	m := newMachine(t, 0, "virtio-drive-qcow2", "scsi-blockdev-qcow2", "sata-drive-raw", "virtio-blockdev-raw")
	foreign := filepath.Join(m.dir, "foreign")
	run(t, "qemu-img", "create", "-q", "-f", "qcow2", "-b", m.disks[3], "-F", "raw", foreign)
	m.args = append(m.args,
		"-drive", "if=none,id=over,format=qcow2,file="+foreign+",file.locking=off,backing.file.locking=off", "-device", "virtio-blk-pci,drive=over",
		"-drive", "if=none,id=cd,media=cdrom", "-device", "ide-cd,bus=ide.3,drive=cd",
		"-drive", "if=none,id=ro,readonly=on,format=raw,file="+filepath.Join(m.dir, "qmp.ro"), "-device", "virtio-blk-pci,drive=ro")
	run(t, "qemu-img", "create", "-q", "-f", "raw", filepath.Join(m.dir, "qmp.ro"), "1M")
	m.start(t)
	vm := m.connect(t)
	var got []string
	for _, d := range discover(t, vm) {
		got = append(got, fmt.Sprint(d.ID, " ", filepath.Base(d.Path), " ", d.Format, " ", d.Size>>20))
	}
	want := "disk0 d0.qcow2 qcow2 64|disk2 d2.raw raw 64|disk3 d3.raw raw 64|node1 d1.qcow2 qcow2 64|over foreign qcow2 64"
	slices.Sort(got)
	if strings.Join(got, "|") != want {
		t.Errorf("got  %v\nwant %s", got, want)
	}
	vm.Hold = nil
	_, reasons, err := disk.Discover(testContext(t), vm)
	if err != nil || len(reasons) != 1 || !strings.Contains(reasons[0].Text, "disk2") {
		t.Errorf("without a way to stop it: %v, %v", reasons, err)
	}
}

// TestRefused lists what cannot be captured, each with its reason.
func TestRefused(t *testing.T) {
	m := newMachine(t, 0, "virtio-drive-qcow2")
	file := func(name, format string, more ...string) string {
		path := filepath.Join(m.dir, name)
		run(t, append(append([]string{"qemu-img", "create", "-q", "-f", format}, more...), path, "8M")...)
		return path
	}
	export := filepath.Join(m.dir, "export")
	if err := os.Mkdir(export, 0o755); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(m.dir, "nbd")
	startServer(t, socket, file("remote", "raw"))
	m.args = append(m.args,
		"-drive", "if=none,id=nbd,format=raw,file=nbd+unix:///?socket="+socket, "-device", "virtio-blk-pci,drive=nbd",
		"-drive", "if=none,id=vmdk,format=vmdk,file="+file("v.vmdk", "vmdk"), "-device", "virtio-blk-pci,drive=vmdk",
		"-object", "throttle-group,id=tg", "-blockdev", "driver=throttle,node-name=thr,throttle-group=tg,file.driver=file,file.filename="+file("t", "raw"), "-device", "virtio-blk-pci,drive=thr",
		"-blockdev", "driver=raw,node-name=part,offset=1048576,file.driver=file,file.filename="+file("p", "raw"), "-device", "virtio-blk-pci,drive=part",
		"-blockdev", "driver=qcow2,node-name=ext,file.driver=file,file.filename="+file("e", "qcow2", "-o", "data_file="+filepath.Join(m.dir, "e.data"))+",data-file.driver=file,data-file.filename="+filepath.Join(m.dir, "e.data"), "-device", "virtio-blk-pci,drive=ext",
	)
	m.args = append(m.args,
		"-drive", "if=none,id=shared,format=raw,file="+file("s", "raw")+",file.locking=off", "-device", "virtio-blk-pci,drive=shared,share-rw=on",
		"-drive", "if=none,id=fat,format=raw,file=fat:rw:"+export, "-device", "virtio-blk-pci,drive=fat",
		"-virtfs", "local,path="+export+",mount_tag=share,security_model=none",
		"-object", "memory-backend-file,id=mem,size=8M,share=on,mem-path="+file("nv", "raw"), "-device", "nvdimm,id=nv,memdev=mem",
		"-object", "memory-backend-file,id=mem2,size=8M,share=off,mem-path="+file("private", "raw"), "-device", "nvdimm,id=private,memdev=mem2",
	)
	m.args[1], m.args[5] = "q35,nvdimm=on", "64,slots=2,maxmem=256M"
	m.start(t)
	disks, reasons, err := disk.Discover(testContext(t), m.connect(t))
	if err != nil || len(disks) != 1 {
		t.Fatal(disks, err)
	}
	said := fmt.Sprint(reasons)
	for _, want := range []string{"disk nbd ", "not a local file but nbd", "disk vmdk ", "kind vmdk", "disk thr ", "kind throttle", "disk part ", "raw with an offset", "disk ext ", "another file",
		"disk shared cannot be captured: others may write", "disk fat ", "not a local file but", "virtio-9p-pci) is in a directory of the host", "device nv (nvdimm) writes to the file"} {
		if !strings.Contains(said, want) {
			t.Errorf("nothing about %q in:", want)
		}
	}
	if strings.Contains(said, "device private") {
		t.Error("memory that is not written to its file is refused")
	}
	t.Log(strings.ReplaceAll(said, "} {", "}\n{"))
}
