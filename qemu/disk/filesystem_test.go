package disk_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/snapline/snapline/qemu/disk"
	"golang.org/x/sys/unix"
)

// TestFileSystems tells those that other hosts write to from this host's own,
// by the numbers of statfs(2).
func TestFileSystems(t *testing.T) {
	for name, magic := range map[string]uint32{
		"NFS": unix.NFS_SUPER_MAGIC, "CIFS": 0xff534d42, "SMB": unix.SMB_SUPER_MAGIC, "SMB 2": 0xfe534d42, "9p": unix.V9FS_MAGIC,
		"Ceph": 0x00c36400, "AFS": unix.AFS_SUPER_MAGIC, "kernel's AFS": unix.AFS_FS_MAGIC, "Coda": unix.CODA_SUPER_MAGIC, "NCP": unix.NCP_SUPER_MAGIC,
		"OCFS2": unix.OCFS2_SUPER_MAGIC, "GFS2": 0x01161970, "Lustre": 0x0bd00bd0,
		"FUSE: sshfs, GlusterFS, virtiofs": unix.FUSE_SUPER_MAGIC,
	} {
		if err := disk.CheckKind(magic); err == nil || !strings.Contains(err.Error(), "cannot be rolled back") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, magic := range map[string]uint32{
		"ext4": unix.EXT4_SUPER_MAGIC, "XFS": unix.XFS_SUPER_MAGIC, "Btrfs": unix.BTRFS_SUPER_MAGIC, "tmpfs": unix.TMPFS_MAGIC,
		"overlay": unix.OVERLAYFS_SUPER_MAGIC, "F2FS": unix.F2FS_SUPER_MAGIC, "ZFS": 0x2fc12fc1, "bcachefs": 0xca451a4e,
	} {
		if err := disk.CheckKind(magic); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestProtocols refuses what is not a file of this host, however it is named.
func TestProtocols(t *testing.T) {
	for _, name := range []string{
		"nbd://host/x", "nbd:unix:/s", "nbd+unix:///x?socket=/s", "iscsi://10.0.0.1/iqn.2001-04.com.example/1", "rbd:pool/image",
		"nfs://host/path", "ssh://host/path", "sheepdog:image", "gluster://host/volume/image", "gluster+unix:///volume/image",
		"http://host/x", "https://host/x", "ftp://host/x", "fat:rw:/dir", "fat:/dir", "blkdebug::/x", "nvme://0000:01:00.0/1",
		`json:{"driver":"raw","file":{"driver":"nbd","server":{"type":"unix","path":"/s"}}}`,
		`json:{"driver":"qcow2","file":{"driver":"rbd","pool":"p","image":"i"}}`,
		`json:{"driver":"raw","file":{"driver":"iscsi","portal":"h","target":"t","lun":0,"transport":"tcp"}}`,
		`json:{"driver":"qcow2","file":{"driver":"nfs","server":{"type":"inet","host":"h"},"path":"/p"}}`,
		`json:{"driver":"raw","file":{"driver":"vvfat","dir":"/d","rw":true}}`,
		`json:{"driver":"raw","file":{"driver":"host_device","filename":"/dev/nbd0"}}`,
		`json:{"driver":"quorum","children":[]}`,
	} {
		if path, err := disk.LocalPath(name, "/dir"); err == nil {
			t.Errorf("%s passes for %s", name, path)
		}
	}
}

// TestBlockDevices refuses all of them, local or not: there is no place beside
// them for an overlay.
func TestBlockDevices(t *testing.T) {
	needTools(t)
	node := filepath.Join(t.TempDir(), "device")
	if err := unix.Mknod(node, unix.S_IFBLK|0o600, int(unix.Mkdev(7, 0))); err != nil {
		t.Fatal(err)
	}
	if err := disk.CheckFile(node); err == nil || !strings.Contains(err.Error(), "block device") {
		t.Errorf("a block device: %v", err)
	}
	if err := disk.CheckFile(os.DevNull); err == nil {
		t.Error("a character device passes")
	}
}

// TestDevices names those whose data is not in a disk of QEMU's.
func TestDevices(t *testing.T) {
	for _, kind := range []string{
		"vhost-user-blk-pci", "vhost-user-blk", "vhost-user-scsi-pci", "vhost-scsi-pci", "vhost-user-fs-pci", "vhost-user-fs-device",
		"virtio-9p-pci", "virtio-9p-device", "usb-mtp",
	} {
		if disk.StoredOutside(kind) == "" {
			t.Errorf("%s passes", kind)
		}
	}
	for _, kind := range []string{"virtio-blk-pci", "virtio-scsi-pci", "virtio-net-pci", "usb-storage", "nvme", "vhost-vsock-pci", "virtio-rng-pci"} {
		if where := disk.StoredOutside(kind); where != "" {
			t.Errorf("%s: %s", kind, where)
		}
	}
}
