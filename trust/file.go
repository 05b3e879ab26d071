package trust

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/snapline/snapline"
)

// maxFile bounds a file with keys, in bytes; ours have three kilobytes.
const maxFile = 64 << 10

// readPrivate reads a file that holds a private key. One that others than its
// owner can use, or that belongs to somebody else, is refused.
func readPrivate(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ELOOP) {
		return nil, refused("name the file itself", "%s is a symbolic link: keys are not followed through one", path)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, fmt.Errorf("stat %s: %w", path, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, refused("", "%s is not a regular file", path)
	}
	if mode := st.Mode & 0o7777; mode&0o077 != 0 {
		return nil, refused("chmod 600 "+path+"; if others could read it, revoke what is in it", "%s is not private: its mode is %04o, so that others than its owner can use the key in it", path, mode)
	}
	if me := os.Geteuid(); int(st.Uid) != me && st.Uid != 0 {
		return nil, refused("chown it to who uses it", "%s belongs to user %d, and this is user %d", path, st.Uid, me)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxFile {
		return nil, refused("", "%s has more than %d bytes; is it the right file?", path, maxFile)
	}
	return b, nil
}

// writePrivate replaces a file with keys in one step, durably. It can be read by
// its owner only, from the first moment.
func writePrivate(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(f.Name()))
	}
	return syncDir(filepath.Dir(path))
}

// createPrivate is writePrivate where nothing may be there yet.
func createPrivate(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Chmod(0o600), f.Sync(), f.Close()); err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(path))
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func refused(hint, format string, args ...any) *snapline.Error {
	return &snapline.Error{Code: snapline.CodeRefused, Message: fmt.Sprintf(format, args...), Hint: hint}
}

func denied(hint, format string, args ...any) *snapline.Error {
	return &snapline.Error{Code: snapline.CodeDenied, Message: fmt.Sprintf(format, args...), Hint: hint}
}

func invalid(hint, format string, args ...any) *snapline.Error {
	return &snapline.Error{Code: snapline.CodeInvalid, Message: fmt.Sprintf(format, args...), Hint: hint}
}
