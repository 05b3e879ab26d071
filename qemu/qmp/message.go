package qmp

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Event is something that QEMU reports unasked.
type Event struct {
	Name string
	Data json.RawMessage
	// At is QEMU's wall clock with microseconds; zero where QEMU could not tell.
	At time.Time
}

// Error is QEMU's refusal of one command; the connection is still good.
type Error struct {
	Command string // the command's name
	Class   string `json:"class"` // GenericError, CommandNotFound, …
	Desc    string `json:"desc"`
}

func (e *Error) Error() string { return fmt.Sprintf("%s: %s", e.Command, e.Desc) }

// IsRefused reports whether err is QEMU's answer to a command, rather than a
// broken connection or an ended context.
func IsRefused(err error) bool {
	var e *Error
	return errors.As(err, &e)
}

// Version is QEMU's version as in the greeting.
type Version struct {
	Major int `json:"major"`
	Minor int `json:"minor"`
	Micro int `json:"micro"`
}

func (v Version) String() string { return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Micro) }

// AtLeast reports whether v is major.minor or newer.
func (v Version) AtLeast(major, minor int) bool {
	return v.Major > major || v.Major == major && v.Minor >= minor
}

// message is any one thing that QEMU sends.
type message struct {
	Greeting *struct {
		Version struct {
			QEMU *Version `json:"qemu"`
		} `json:"version"`
		Capabilities []json.RawMessage `json:"capabilities"`
	} `json:"QMP"`
	ID        json.RawMessage `json:"id"`
	Return    json.RawMessage `json:"return"`
	Error     *Error          `json:"error"`
	Event     string          `json:"event"`
	Data      json.RawMessage `json:"data"`
	Timestamp struct {
		Seconds      int64 `json:"seconds"`
		Microseconds int64 `json:"microseconds"`
	} `json:"timestamp"`
}

func (m *message) event() Event {
	e := Event{Name: m.Event, Data: m.Data}
	// QEMU sends -1 for both when the host's clock cannot be read.
	if s := m.Timestamp.Seconds; s > 0 {
		e.At = time.Unix(s, m.Timestamp.Microseconds*1000)
	}
	return e
}

// offersOOB reports whether the greeting offers out-of-band execution.
func (m *message) offersOOB() bool {
	for _, c := range m.Greeting.Capabilities {
		if string(c) == `"oob"` {
			return true
		}
	}
	return false
}

// request is one command on its way to QEMU.
type request struct {
	Execute   string          `json:"execute,omitempty"`
	ExecOOB   string          `json:"exec-oob,omitempty"`
	Arguments json.RawMessage `json:"arguments,omitempty"`
	ID        uint64          `json:"id"`
}

// encode renders cmd as one line.
func encode(id uint64, name string, oob bool, args any) ([]byte, error) {
	a, err := json.Marshal(args)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", name, err)
	}
	r := request{ID: id, Execute: name}
	if oob {
		r.Execute, r.ExecOOB = "", name
	}
	if string(a) != "{}" {
		r.Arguments = a
	}
	line, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", name, err)
	}
	return append(line, '\n'), nil
}
