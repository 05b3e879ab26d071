package trust

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"
)

const (
	// lookAgain bounds how long a renewal sleeps: a clock may be set, or the
	// machine may sleep too.
	lookAgain = time.Hour
	// A renewal that failed is tried again after a time that doubles, so many
	// times shorter than what is left of the certificate's life.
	retryFirst, retryLast = 10 * time.Second, 30 * time.Minute
)

// Keep renews a credential in time, until ctx ends. renew gets another one;
// keep puts it away durably, and only then it is used.
func (h *Holder) Keep(ctx context.Context, renew func(context.Context) (*Credential, error), keep func(*Credential) error, log *slog.Logger) {
	retry := retryFirst
	for {
		c := h.Credential()
		wait := c.Due().Sub(h.now())
		if wait <= 0 {
			next, err := renew(ctx)
			if err == nil {
				err = errors.Join(same(c, next), keep(next))
			}
			if err == nil {
				h.Replace(next)
				retry = retryFirst
				log.Info("certificate renewed", "principal", next.Principal(), "expires", next.Expires())
				continue
			}
			if ctx.Err() != nil {
				return
			}
			log.Warn("the certificate could not be renewed; trying again", "expires", c.Expires(), "error", err)
			// Half of it is chance, so that all hosts do not come at the same moment.
			wait = retry/2 + rand.N(retry/2)
			retry = min(retry*2, retryLast)
		}
		timer := time.NewTimer(min(wait, lookAgain))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// same refuses a credential of somebody else, or of another cluster.
func same(old, next *Credential) error {
	if old.Principal() != next.Principal() || old.Fingerprint() != next.Fingerprint() {
		return errors.New("the renewed certificate is of " + string(next.Principal()) + " in cluster " + next.Fingerprint())
	}
	return nil
}
