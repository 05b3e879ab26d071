package qemu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/qemu/qmp"
	"golang.org/x/sys/unix"
)

// Load writes the machine's disks, starts it on taps of its own and feeds it
// the stream. The process lives on when this one ends.
//
// A disk that is replaced is kept under a second name, disk.KeptPath, until the
// VM is let go of. One that is kept there already, by a restore that was broken
// off, is the user's and stays. Backing files are never replaced: see
// disk.Store.PlaceBacking. The error wraps disk.ErrInUse when a living process
// has one of the old disks open, and is a *disk.KeptError when the user must
// choose between two.
func (h *Hypervisor) Load(ctx context.Context, m snapline.Member, info snapline.VMInfo, stream snapline.Stream, disks []snapline.StoredDisk) (snapline.VM, error) {
	path, err := socketPath(m)
	if err != nil {
		return nil, err
	}
	vm, err := h.load(ctx, m, path, info, stream, disks)
	if err != nil {
		return nil, fmt.Errorf("load vm %s: %w", m.Name, err)
	}
	return vm, nil
}

func (h *Hypervisor) load(ctx context.Context, m snapline.Member, path string, info snapline.VMInfo, stream io.Reader, disks []snapline.StoredDisk) (*VM, error) {
	head, err := checkStream(stream) // QEMU waits for ever for the header of nothing
	if err != nil {
		return nil, err
	}
	stream = io.MultiReader(bytes.NewReader(head), stream)
	if err := h.checkFree(ctx, path); err != nil {
		return nil, err
	}
	if err := h.disks.RecoverStopped(ctx, path); err != nil {
		return nil, err
	}
	restored, err := h.writeDisks(ctx, path, info, disks)
	if err != nil {
		return nil, err
	}
	vm, err := h.boot(ctx, m, path, info, stream, restored.moved)
	if err != nil {
		return nil, restored.failed(err)
	}
	vm.restored = restored
	return vm, nil
}

// boot starts the machine and gives it its state. After an error it is gone.
func (h *Hypervisor) boot(ctx context.Context, m snapline.Member, path string, info snapline.VMInfo, stream io.Reader, moved map[string]string) (*VM, error) {
	started, err := h.launch(ctx, m, path, info, moved)
	if err != nil {
		return nil, err
	}
	vm, err := started.connect(ctx, m.Name, path)
	if err == nil {
		if err = incoming(ctx, vm, stream); err == nil {
			vm.keeper, vm.unplugged = started.keeper, started.taps
			return vm, nil
		}
		vm.Close()
	}
	err = errors.Join(err, started.discard())
	if tail := started.log.tail(); tail != "" {
		err = fmt.Errorf("%w; QEMU's last words (%s): %s", err, started.log.path, tail)
	}
	return nil, err
}

// incoming feeds the stream to a QEMU that waits with -incoming defer.
func incoming(ctx context.Context, vm *VM, stream io.Reader) error {
	quiet, err := silence(ctx, vm.client)
	if err != nil {
		return err
	}
	write, err := offerSocket(ctx, vm.client)
	if err != nil {
		return err
	}
	events := vm.client.Subscribe()
	defer events.Close()
	if _, err := qmp.Run(ctx, vm.client, qmp.MigrateIncoming{URI: "fd:" + descriptorName}); err != nil {
		write.Close()
		return err
	}
	fed := make(chan error, 1)
	alive, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	go func() {
		err := feed(write, stream)
		if err != nil {
			giveUp(err)
		}
		fed <- err
	}()
	err = awaitLoaded(alive, vm, events)
	if err != nil {
		write.Close() // the feeder may wait for a QEMU that reads no more
	}
	if feedErr := <-fed; feedErr != nil {
		return feedErr // whatever QEMU made of it
	}
	if err != nil {
		return err
	}
	return quiet.restore(ctx)
}

// offerSocket gives QEMU one end of a pair of sockets and returns the other.
//
// A pipe would do, but it wakes its writer whenever a page of it is free, so
// that the two ends take turns at every 32 KiB that QEMU reads. A socket wakes
// it when three quarters of its buffer are free.
func offerSocket(ctx context.Context, c *qmp.Client) (*os.File, error) {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socketpair: %w", err)
	}
	defer unix.Close(ends[0])
	unix.SetsockoptInt(ends[1], unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, feedBuffer) // smaller is slower, no more
	unix.SetNonblock(ends[1], true)
	write := os.NewFile(uintptr(ends[1]), "load socket")
	if _, err := qmp.RunWithFD(ctx, c, qmp.GetFD{Name: descriptorName}, ends[0]); err != nil {
		write.Close()
		return nil, err
	}
	return write, nil
}

// feedBuffer is how much the socket holds, in bytes. From 256 KiB to 2 MiB
// there is no difference.
const feedBuffer = 512 << 10

// feed copies the stream. QEMU may hang up after the state's end, before the
// stream's: the rest is read all the same, because it carries the digest.
func feed(write *os.File, stream io.Reader) error {
	defer write.Close()
	_, err := io.Copy(onlyWriter{write}, stream)
	if errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, os.ErrClosed) {
		_, err = io.Copy(io.Discard, stream)
	}
	return err
}

// onlyWriter hides *os.File's ReadFrom, which cannot tell an error of the
// stream from one of the socket.
type onlyWriter struct{ io.Writer }

// awaitLoaded waits until the state is loaded.
func awaitLoaded(ctx context.Context, vm *VM, events *qmp.Events) error {
	for {
		m, err := qmp.Run(ctx, vm.client, qmp.QueryMigrate{})
		if err != nil {
			return err
		}
		switch m.Status {
		case "completed":
			return nil
		case "failed", "cancelled":
			return migrationError(m)
		}
		if _, err := events.Next(ctx); err != nil {
			return err
		}
	}
}

// silence keeps a loaded QEMU from announcing its addresses by itself at the
// end of the incoming migration: a paused VM's frames would wait in a queue and
// leave whenever it is resumed, and Announce is there to say when. It also
// switches the events on that awaitLoaded needs.
func silence(ctx context.Context, c *qmp.Client) (*settings, error) {
	s, err := readSettings(ctx, c)
	if err != nil {
		return nil, err
	}
	var none int64
	if _, err := qmp.Run(ctx, c, qmp.SetParameters{Parameters: qmp.Parameters{AnnounceRounds: &none}}); err != nil {
		return nil, err
	}
	on := []qmp.Capability{{Name: capEvents, On: true}}
	_, err = qmp.Run(ctx, c, qmp.SetCapabilities{Capabilities: on})
	return s, err
}

// discard ends a machine that could not be loaded.
func (s *started) discard() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := s.proc.kill(ctx)
	s.keeper.release()
	s.proc.release()
	os.Remove(s.socket)
	return err
}
