package image

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Image is a kernel and an initramfs that QEMU boots with -kernel and -initrd.
// The files are shared by everyone with the same cache and never change.
type Image struct {
	Kernel string // path of the bzImage
	Initrd string // path of the zstd-compressed newc archive
	Key    string // names the inputs it was made from
}

// Options say what goes into an image and where images are kept.
type Options struct {
	// Cache is the folder of built images and downloaded packages; "" is
	// DefaultCache.
	Cache string
	// Program is the static binary that the guest runs in the roles bank,
	// datagrams and bench; it becomes /bin/bank.
	Program string
	// Progress hears what is being done; nil is fine.
	Progress func(string)
}

// DefaultCache is where images are kept unless told otherwise.
func DefaultCache() (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		// A system service has no HOME; root's images then go where the system
		// keeps what can be made again (FHS 3.0, section 5.5).
		base = "/var/cache"
	}
	return filepath.Join(base, "snapline", "images"), nil
}

//go:embed init.sh
var initScript []byte

// format changes whenever the same inputs make a different image.
const format = 1

// Build returns the image for the given options and makes it if the cache does
// not hold it yet, which takes some seconds and needs Debian's archive within
// reach. An image that exists is used as it is, without asking the archive for
// newer packages: remove the cache to get those. Several builders may run at
// once, in one process or many.
func Build(ctx context.Context, o Options) (Image, error) {
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	if o.Cache == "" {
		var err error
		if o.Cache, err = DefaultCache(); err != nil {
			return Image{}, err
		}
	}
	program, err := os.ReadFile(o.Program)
	if err != nil {
		return Image{}, fmt.Errorf("read the guest's program: %w", err)
	}
	img := at(o.Cache, key(program))
	if img.complete() {
		return img, nil
	}
	if err := os.MkdirAll(o.Cache, 0o755); err != nil {
		return Image{}, fmt.Errorf("make the image cache: %w", err)
	}
	unlock, err := lock(ctx, o.Cache)
	if err != nil {
		return Image{}, err
	}
	defer unlock()
	if img.complete() {
		return img, nil // by whoever held the lock before
	}
	if err := sweep(o.Cache); err != nil {
		return Image{}, err
	}
	if err := build(ctx, o, img, program); err != nil {
		return Image{}, fmt.Errorf("build guest image: %w", err)
	}
	return img, nil
}

// key hashes what decides the image's contents and is known without asking the
// archive. Which versions of the packages went in is in manifest.json.
func key(program []byte) string {
	h := sha256.New()
	fmt.Fprintf(h, "format %d\npackages %q\nmodules %q\n", format, packages, wantedModules)
	for _, part := range [][]byte{initScript, program} {
		fmt.Fprintf(h, "%d\n", len(part))
		h.Write(part)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

func at(cache, key string) Image {
	dir := filepath.Join(cache, key)
	return Image{Kernel: filepath.Join(dir, "vmlinuz"), Initrd: filepath.Join(dir, "initrd.zst"), Key: key}
}

func (i Image) complete() bool {
	for _, f := range []string{i.Kernel, i.Initrd} {
		if fi, err := os.Stat(f); err != nil || fi.Size() == 0 {
			return false
		}
	}
	return true
}

// build makes the image in a folder of its own and renames that into place, so
// that a half-made image is never seen. Callers hold the cache's lock.
func build(ctx context.Context, o Options, img Image, program []byte) error {
	start := time.Now()
	debs, err := fetch(ctx, filepath.Join(o.Cache, "debs"), o.Progress)
	if err != nil {
		return err
	}
	o.Progress("packing the guest image")
	kernel, entries, err := contents(ctx, debs, program)
	if err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(o.Cache, ".new-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := os.Chmod(tmp, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(tmp, "vmlinuz"), kernel, 0o644); err != nil {
		return err
	}
	if err := writeInitrd(filepath.Join(tmp, "initrd.zst"), entries); err != nil {
		return err
	}
	manifest, err := json.MarshalIndent(map[string]any{"format": format, "packages": names(debs)}, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(tmp, "manifest.json"), append(manifest, '\n'), 0o644); err != nil {
		return err
	}
	if err := os.Rename(tmp, filepath.Dir(img.Kernel)); err != nil {
		return err
	}
	o.Progress(fmt.Sprintf("guest image ready after %.1f s", time.Since(start).Seconds()))
	return nil
}
