package disk

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// remote are file systems that other hosts write to as well, by the magic
// number of statfs(2) (include/uapi/linux/magic.h and the systems' own).
var remote = map[uint32]string{
	0x6969:     "NFS",
	0xff534d42: "CIFS",
	0xfe534d42: "SMB",
	0x517b:     "SMB",
	0x01021997: "9p",
	0x00c36400: "Ceph",
	0x5346414f: "AFS",
	0x6b414653: "AFS",
	0x73757245: "Coda",
	0x0000564c: "NCP",
	0x20030528: "OrangeFS",
	0x786f4256: "a shared folder of VirtualBox",
	0xbacbacbc: "a shared folder of VMware",
	0x01161970: "GFS2",
	0x7461636f: "OCFS2",
	0x0bd00bd0: "Lustre",
	0x47504653: "GPFS",
	0x19830326: "BeeGFS",
	0x65735546: "FUSE (which can be anything, also remote)",
}

// checkFile refuses what is not a plain file on a local file system.
func checkFile(path string) error {
	st, err := os.Stat(path)
	if err != nil {
		return err
	}
	switch mode := st.Mode(); {
	case mode.IsRegular():
	case mode&os.ModeDevice != 0 && mode&os.ModeCharDevice == 0:
		return fmt.Errorf("%s is a block device (a partition, LVM volume or whole disk), not a file", path)
	default:
		return fmt.Errorf("%s is not a plain file", path)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err != nil {
		return fmt.Errorf("statfs %s: %w", path, err)
	}
	if err := checkKind(uint32(fs.Type)); err != nil {
		return fmt.Errorf("%s %w", path, err)
	}
	return nil
}

// checkKind refuses a file system that is not this host's alone.
func checkKind(magic uint32) error {
	if kind, ok := remote[magic]; ok {
		return fmt.Errorf("is on %s, which cannot be rolled back together with the VM", kind)
	}
	return nil
}

// leastRoom is what must be free for an overlay: what the guest writes while a
// snapshot is stored goes there, and a full disk stops the guest.
const leastRoom = 256 << 20

// checkRoom wants room for an overlay beside the file.
func checkRoom(path string, size int64) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err != nil {
		return fmt.Errorf("statfs %s: %w", path, err)
	}
	if free, want := int64(fs.Bavail)*fs.Bsize, min(size, leastRoom); free < want {
		return fmt.Errorf("%d MiB are free beside %s, an overlay needs %d", free>>20, path, (want+1<<20-1)>>20)
	}
	return nil
}
