package snapline

import (
	"errors"
	"strings"
)

// ErrNoVM is what adopting a virtual machine ends with when no process is it.
var ErrNoVM = errors.New("the VM is not running")

// Code classes an error for those who must act on it: each has one exit
// status and one HTTP status.
type Code string

const (
	CodeFailed      Code = "failed"      // it was tried and did not work
	CodeInvalid     Code = "invalid"     // what was asked makes no sense
	CodeRefused     Code = "refused"     // checked before the start; nothing was touched
	CodeDenied      Code = "denied"      // who asks may not, or did not say who they are
	CodeNotFound    Code = "not_found"   // no such group, snapshot, operation
	CodeBusy        Code = "busy"        // another operation on this group is running
	CodeUnavailable Code = "unavailable" // coordinator or agent cannot be reached
	CodeDamaged     Code = "damaged"     // stored data is not what was written
	CodeCancelled   Code = "cancelled"   // stopped on request
)

// Error is what a user sees at the edge: what happened, every reason that is
// known, and the next step.
type Error struct {
	Code    Code     `json:"code"`
	Message string   `json:"message"`
	Reasons []Reason `json:"reasons,omitempty"`
	Hint    string   `json:"hint,omitempty"`
	Err     error    `json:"-"`
}

// Reason is one cause of a refusal or failure and where it lies.
type Reason struct {
	Member MemberName `json:"member,omitempty"`
	Host   HostName   `json:"host,omitempty"`
	Text   string     `json:"text"`
	Hint   string     `json:"hint,omitempty"`
	// Damaged marks stored data that is not what was written.
	Damaged bool `json:"damaged,omitempty"`
}

// String is the reason on one line: "n1 on h2: text".
func (r Reason) String() string {
	var b strings.Builder
	b.WriteString(string(r.Member))
	if r.Host != "" {
		if r.Member != "" {
			b.WriteString(" on ")
		}
		b.WriteString(string(r.Host))
	}
	if b.Len() > 0 {
		b.WriteString(": ")
	}
	b.WriteString(r.Text)
	return b.String()
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Message)
	for i, r := range e.Reasons {
		if i == 0 {
			b.WriteString(": ")
		} else {
			b.WriteString("; ")
		}
		b.WriteString(r.String())
	}
	if e.Err != nil && e.Message == "" {
		b.WriteString(e.Err.Error())
	}
	return b.String()
}

func (e *Error) Unwrap() error { return e.Err }
