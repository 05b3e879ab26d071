package repository

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/repository/blob"
)

// A round that was given up has, in the place of its record, one line of plain
// text with the moment in UTC. Whoever creates that name first, a Commit or a
// GiveUp, has decided the round for good.
const (
	givenUpWord = "given up "
	givenUpSize = int64(len(givenUpWord) + len(time.DateTime) + len("\n")) // a sealed record is longer
)

// givenUpFor is how long the line stays, for a coordinator that may have been
// asleep in its Commit. By then its round's data is gone, which Commit sees too.
const givenUpFor = 7 * 24 * time.Hour

func givenUpText(at time.Time) []byte {
	return []byte(givenUpWord + at.UTC().Format(time.DateTime) + "\n")
}

func parseGivenUp(b []byte) (at time.Time, ok bool) {
	text, begins := strings.CutPrefix(string(b), givenUpWord)
	if !begins || int64(len(b)) != givenUpSize {
		return at, false
	}
	at, err := time.Parse(time.DateTime+"\n", text)
	return at, err == nil
}

// GiveUp implements snapline.Repository.
func (r *Repository) GiveUp(ctx context.Context, id snapline.SnapshotID) error {
	if err := r.giveUp(ctx, id); err != nil {
		return fmt.Errorf("give up %s: %w", id, r.full(err))
	}
	return nil
}

func (r *Repository) giveUp(ctx context.Context, id snapline.SnapshotID) error {
	if err := errors.Join(ctx.Err(), checkID(id)); err != nil {
		return err
	}
	err := r.store.Create(ctx, manifestName(id), givenUpText(time.Now()))
	if errors.Is(err, blob.ErrExists) {
		if err = r.absent(ctx, id); err == nil {
			err = snapline.ErrExists // it did, and has been deleted since
		}
	}
	if err != nil && !errors.Is(err, snapline.ErrGivenUp) {
		return err
	}
	_, err = r.deleteRoots(ctx, id)
	return err
}

// givenUp reads what may be a given-up round's line, of which the size is known.
func (r *Repository) givenUp(ctx context.Context, name string, size int64) (at time.Time, ok bool, err error) {
	if size != givenUpSize {
		return at, false, nil
	}
	b, err := readBlob(ctx, r.store, name)
	if errors.Is(err, blob.ErrNotFound) {
		return at, false, nil // deleted meanwhile
	}
	at, ok = parseGivenUp(b)
	return at, ok, err
}

// forgetGivenUp deletes the lines that nobody can need any more.
func (p *prune) forgetGivenUp(ctx context.Context) error {
	for id, at := range p.givenUp {
		if time.Since(at) < givenUpFor {
			continue
		}
		if err := p.delete(ctx, manifestName(id)); err != nil {
			return err
		}
	}
	return nil
}
