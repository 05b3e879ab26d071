package api

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/snapline/snapline"
)

// Problem is a snapline.Error on the wire: problem details (RFC 9457) with the
// members code, reasons and hint.
type Problem struct {
	Type    string            `json:"type" doc:"Always about:blank: code tells problems apart."`
	Title   string            `json:"title" doc:"The status in words."`
	Status  int               `json:"status" doc:"The HTTP status, repeated."`
	Detail  string            `json:"detail" doc:"What happened."`
	Code    snapline.Code     `json:"code" doc:"The kind of error; each has one exit status of the command line."`
	Reasons []snapline.Reason `json:"reasons,omitempty" doc:"Every known cause, and where it lies."`
	Hint    string            `json:"hint,omitempty" doc:"The operator's next step."`
}

const problemType = "application/problem+json"

// codes is the one table of errors on the wire.
var codes = [...]struct {
	code   snapline.Code
	status int
}{
	{snapline.CodeInvalid, http.StatusUnprocessableEntity},
	{snapline.CodeDenied, http.StatusForbidden},
	{snapline.CodeNotFound, http.StatusNotFound},
	{snapline.CodeBusy, http.StatusConflict},
	{snapline.CodeRefused, http.StatusPreconditionFailed},
	{snapline.CodeUnavailable, http.StatusServiceUnavailable},
	{snapline.CodeCancelled, http.StatusConflict},
	{snapline.CodeDamaged, http.StatusInternalServerError},
	{snapline.CodeFailed, http.StatusInternalServerError},
}

// statusOf returns the HTTP status of a code; one it does not know is a failure.
func statusOf(c snapline.Code) int {
	for _, row := range codes {
		if row.code == c {
			return row.status
		}
	}
	return http.StatusInternalServerError
}

// codeOf guesses the code of an answer that is not ours, such as a proxy's.
func codeOf(status int) snapline.Code {
	switch {
	case status == http.StatusBadGateway || status == http.StatusGatewayTimeout:
		return snapline.CodeUnavailable
	case status == http.StatusInternalServerError:
		return snapline.CodeFailed
	}
	for _, row := range codes {
		if row.status == status {
			return row.code
		}
	}
	if status >= 400 && status < 500 {
		return snapline.CodeInvalid
	}
	return snapline.CodeFailed
}

// NewProblem describes err for the wire.
func NewProblem(err error) *Problem {
	e := AsError(err)
	status := statusOf(e.Code)
	return &Problem{Type: "about:blank", Title: http.StatusText(status), Status: status,
		Detail: e.Message, Code: e.Code, Reasons: e.Reasons, Hint: e.Hint}
}

// Err is the error that the problem describes.
func (p *Problem) Err() *snapline.Error {
	return &snapline.Error{Code: p.Code, Message: p.Detail, Reasons: p.Reasons, Hint: p.Hint}
}

// Error, GetStatus and ContentType let huma write a Problem as the answer.
func (p *Problem) Error() string             { return p.Err().Error() }
func (p *Problem) GetStatus() int            { return p.Status }
func (p *Problem) ContentType(string) string { return problemType }

// AsError returns err as the edge shows it. What was wrapped around a
// *snapline.Error stays in front of its message; any other error gets the code
// of the sentinel that it wraps, or CodeFailed.
func AsError(err error) *snapline.Error {
	var e *snapline.Error
	if !errors.As(err, &e) {
		return &snapline.Error{Code: sentinelCode(err), Message: err.Error(), Err: err}
	}
	out := *e
	if out.Message == "" && out.Err != nil {
		out.Message = out.Err.Error()
	}
	if out.Code == "" {
		out.Code = snapline.CodeFailed
	}
	if around, ok := strings.CutSuffix(err.Error(), e.Error()); ok {
		out.Message = around + out.Message
	}
	return &out
}

func sentinelCode(err error) snapline.Code {
	switch {
	case errors.Is(err, snapline.ErrNotFound):
		return snapline.CodeNotFound
	case errors.Is(err, snapline.ErrDamaged):
		return snapline.CodeDamaged
	case errors.Is(err, snapline.ErrNoAnswer), errors.Is(err, context.DeadlineExceeded):
		return snapline.CodeUnavailable
	case errors.Is(err, context.Canceled):
		return snapline.CodeCancelled
	}
	return snapline.CodeFailed
}
