package etcd

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// Event is one line of the load's journal. A write is on record twice: before
// it is sent, and when its outcome is known.
type Event struct {
	Kind  string    `json:"kind"` // attempt, ack, error
	At    time.Time `json:"at"`
	Key   string    `json:"key"`
	Value string    `json:"value,omitempty"` // of an attempt
	// Revision is the store's, made by an acknowledged write.
	Revision int64  `json:"revision,omitempty"`
	Text     string `json:"text,omitempty"` // of an error
}

// Kinds of events. An error says nothing about whether the write happened.
const (
	Attempt = "attempt"
	Ack     = "ack"
	Failed  = "error"
)

// Journal is what a load has written, in order.
type Journal []Event

// ReadJournal reads JSON lines. A last line without its end, which a killed
// writer leaves, is not part of the journal; any other bad line is an error.
func ReadJournal(r io.Reader) (Journal, error) {
	var j Journal
	br := bufio.NewReader(r)
	for n := 1; ; n++ {
		line, err := br.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return j, nil
		}
		if err != nil {
			return j, fmt.Errorf("read journal: %w", err)
		}
		var e Event
		if err := json.Unmarshal(line, &e); err != nil {
			return j, fmt.Errorf("journal line %d: %w", n, err)
		}
		if e.Key == "" || e.At.IsZero() || (e.Kind != Attempt && e.Kind != Ack && e.Kind != Failed) {
			return j, fmt.Errorf("journal line %d: not an event: %s", n, line)
		}
		j = append(j, e)
	}
}

// Acknowledged counts the acknowledged writes until the given time; zero time
// means all.
func (j Journal) Acknowledged(until time.Time) int {
	n := 0
	for _, e := range j {
		if e.Kind == Ack && (until.IsZero() || e.At.Before(until)) {
			n++
		}
	}
	return n
}

// LongestGap is the longest time between two acknowledgements, of whichever
// worker, that lies between from and to at least in part; zero times mean no
// bound. What a client saw of a pause is this.
func (j Journal) LongestGap(from, to time.Time) time.Duration {
	var last time.Time
	var longest time.Duration
	for _, e := range j {
		if e.Kind != Ack {
			continue
		}
		inside := (from.IsZero() || e.At.After(from)) && (to.IsZero() || last.Before(to))
		if !last.IsZero() && inside {
			longest = max(longest, e.At.Sub(last))
		}
		last = e.At
	}
	return longest
}
