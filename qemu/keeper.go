package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/snapline/snapline/qemu/qmp"
)

// keeper is the parent's end of a guard over a machine that is being loaded, or
// has been, and has not run: should we die, nobody would ever let it run or end
// it. It ends the machine when we die, and when we hang for longer than
// Hypervisor.keeperTime. A nil keeper is of a machine that needs none.
type keeper struct {
	hold *hold
	time time.Duration
	quit chan struct{}
	once sync.Once
	done sync.WaitGroup
}

// Times of a keeper.
const (
	keeperTime  = time.Minute // for which we may hang
	keeperBeats = 4           // signs of our life within that
	// keeperPatience is for a monitor to say whether the machine runs. What has
	// never run has no reason to be slow.
	keeperPatience = 5 * time.Second
)

// errKept says that the keeper has ended the machine.
var errKept = errors.New("it was loaded, waited too long, and was ended")

// keep starts a keeper.
func (s *started) keep(ctx context.Context) (*keeper, error) {
	dog, err := newWatchdog(func(control int) (child *os.Process, err error) {
		if ctrlErr := s.proc.raw.Control(func(pidfd uintptr) {
			child, err = spawn{Args: s.hypervisor.opts.GuardCommand, Env: append(os.Environ(), guardLoaded+"="+s.socket), Files: map[int]int{
				guardControl: control, guardProcess: int(pidfd),
			}}.start()
		}); ctrlErr != nil {
			return nil, ctrlErr
		}
		return child, err
	})
	if err != nil {
		return nil, fmt.Errorf("guard: %w", err)
	}
	k := &keeper{hold: &hold{dog: dog, lost: func() {}}, time: s.hypervisor.keeperTime, quit: make(chan struct{})}
	dog.holds[k.hold] = struct{}{}
	k.done.Go(dog.listen)
	if err := k.hold.extend(ctx, k.time); err != nil {
		k.release()
		return nil, err
	}
	k.done.Go(k.beat)
	return k, nil
}

// beat shows the guard that we are alive.
func (k *keeper) beat() {
	tick := time.NewTicker(k.time / keeperBeats)
	defer tick.Stop()
	for {
		select {
		case <-k.quit:
			return
		case <-tick.C:
		}
		ctx, cancel := context.WithTimeout(context.Background(), cleanupTime)
		err := k.hold.extend(ctx, k.time)
		cancel()
		if err != nil {
			return // it has ended the machine
		}
	}
}

// resuming is called before the machine runs for the first time. After it the
// guard lets us send that order in peace.
func (k *keeper) resuming(ctx context.Context) error {
	if k == nil {
		return nil
	}
	select {
	case <-k.quit:
		return nil // it has run
	default:
	}
	if err := k.hold.extend(ctx, k.time); err != nil {
		if k.hold.fired() {
			return errKept
		}
		return err
	}
	return nil
}

// release is for a machine that runs, or is gone. It returns when the guard has
// ended, at most the second after which one that hangs is killed.
func (k *keeper) release() {
	if k == nil {
		return
	}
	k.once.Do(func() {
		close(k.quit)
		k.hold.dog.dismiss()
	})
	k.done.Wait()
}

// endLoaded is what a guard does for a machine that was loaded. Only a dead parent
// lets it ask whether the machine has been let run at the last moment: one that
// hangs has the monitor, and would have told us before.
func endLoaded(p *process, socket string, why watchEnd) error {
	ctx, cancel := context.WithTimeout(context.Background(), guardPatience)
	defer cancel()
	if why == parentDied && hasRun(ctx, socket) {
		return nil
	}
	return p.kill(ctx)
}

func hasRun(ctx context.Context, socket string) bool {
	ctx, cancel := context.WithTimeout(ctx, keeperPatience)
	defer cancel()
	conn, err := dial(ctx, socket)
	if err != nil {
		return false // its monitor was not even there
	}
	client, err := qmp.New(ctx, conn, socket)
	if err != nil {
		return false
	}
	defer client.Close()
	st, err := qmp.Run(ctx, client, qmp.QueryStatus{})
	return err == nil && st.Running
}
