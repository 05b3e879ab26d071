package repository

import (
	"context"
	"time"
)

// askEvery is how old an answer may be on which something is deleted.
const askEvery = time.Second

// allowedEvery asks once, and again when the last answer is old: a process that
// was frozen finds out that others have gone on without it.
func allowedEvery(d time.Duration, ask func(context.Context) error) func(context.Context) error {
	var last time.Time
	return func(ctx context.Context) error {
		if ask == nil || !last.IsZero() && time.Since(last) < d {
			return nil
		}
		if err := ask(ctx); err != nil {
			return err
		}
		last = time.Now()
		return nil
	}
}
