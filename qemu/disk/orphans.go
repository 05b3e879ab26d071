package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/snapline/snapline/qemu/qmp"
)

// freeTick is how often a job that was told to end is looked at.
const freeTick = 10 * time.Millisecond

// FreeJobs ends the merges of an agent that has died, so that the guest writes
// on: at its end a merge holds the guest's writes back until somebody says how
// it goes on. dir is the Store's. One whose pivot is in the journal is
// finished: if it were not, what the guest writes to the overlay from now on
// would count for nothing. All others are cancelled, which leaves the guest on
// the overlay; whoever adopts the VM next begins anew. Nothing is written to
// the journal, so the next agent may read it meanwhile.
func FreeJobs(ctx context.Context, c *qmp.Client, dir string) error {
	tick := time.NewTicker(freeTick)
	defer tick.Stop()
	for {
		jobs, err := qmp.Run(ctx, c, queryJobs{})
		if err != nil {
			return err
		}
		left := false
		for _, j := range jobs {
			if !strings.HasPrefix(j.ID, ownPrefix) {
				continue
			}
			left = true
			if err := free(ctx, c, dir, j); err != nil && !qmp.IsRefused(err) { // refused: it has moved on
				return err
			}
		}
		if !left {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("merges: %w", context.Cause(ctx))
		}
	}
}

// free takes one step to the end of a job.
func free(ctx context.Context, c *qmp.Client, dir string, j job) error {
	var err error
	switch j.Status {
	case "concluded":
		_, err = qmp.Run(ctx, c, jobDismiss{ID: j.ID})
	case "pending":
		pivots, journalErr := pivots(dir, j.ID)
		switch {
		case journalErr != nil: // either way could lose something: the guest waits
			return fmt.Errorf("merge %s: %w", j.ID, journalErr)
		case pivots:
			_, err = qmp.Run(ctx, c, jobFinalize{ID: j.ID})
		default:
			_, err = qmp.Run(ctx, c, blockJobCancel{ID: j.ID, Force: true})
		}
	case "aborting", "null":
	default:
		_, err = qmp.Run(ctx, c, blockJobCancel{ID: j.ID, Force: true})
	}
	return err
}

// pivots reports whether a job's pivot is in a journal.
func pivots(dir, node string) (bool, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.journal"))
	if err != nil {
		return false, err
	}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // another VM's, which has just been removed
		}
		p, at, _, err := decodeJournal(b)
		if err != nil {
			continue // another VM's, perhaps; if it is this one's, none is found
		}
		for i, d := range p.Disks {
			if d.Node == node {
				return at[i].step == pivoting, nil
			}
		}
	}
	return false, errors.New("no journal knows it")
}

// dismissConcluded removes a job that has ended, if there is one of that name.
func dismissConcluded(ctx context.Context, c *qmp.Client, id string) error {
	j, found, err := findJob(ctx, c, id)
	if err != nil || !found || j.Status != "concluded" {
		return err
	}
	_, err = qmp.Run(ctx, c, jobDismiss{ID: id})
	return err
}
