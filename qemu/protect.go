package qemu

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// More ioctl requests of include/uapi/linux/userfaultfd.h.
const (
	uffdioAPI      = 0xc018aa3f
	uffdioRegister = 0xc020aa00

	uffdAPI            = 0xaa
	uffdFeatureWP      = 1 << 0
	uffdRegisterModeWP = 1 << 1
	uffdProtectModeWP  = 1 << 0
)

// protectOnePage write-protects a page of this process through a new
// userfaultfd, and lets go of it.
func protectOnePage(fd int) error {
	page, err := unix.Mmap(-1, 0, unix.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return err
	}
	defer unix.Munmap(page)
	page[0] = 1 // a page that is not there cannot be protected
	api := struct{ api, features, ioctls uint64 }{api: uffdAPI, features: uffdFeatureWP}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uffdioAPI, uintptr(unsafe.Pointer(&api))); errno != 0 {
		return fmt.Errorf("userfaultfd with write protection: %w", errno)
	}
	register := struct{ start, length, mode, ioctls uint64 }{uint64(uintptr(unsafe.Pointer(&page[0]))), uint64(len(page)), uffdRegisterModeWP, 0}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uffdioRegister, uintptr(unsafe.Pointer(&register))); errno != 0 {
		return fmt.Errorf("userfaultfd: register memory: %w", errno)
	}
	r := memoryRange{start: register.start, length: register.length, mode: uffdProtectModeWP}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uffdioWriteProtect, uintptr(unsafe.Pointer(&r))); errno != 0 {
		return fmt.Errorf("userfaultfd: protect memory: %w", errno)
	}
	r.unprotect(fd)
	return nil
}
