package api

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/snapline/snapline"
)

// What an operation needs, in its huma metadata.
const (
	needs     = "needs"
	needsUser = "user" // anybody who is known, although it is no GET
)

// forOperators marks an operation that viewers may not use, although it is a GET.
func forOperators(o huma.Operation) huma.Operation {
	o.Metadata = map[string]any{needs: snapline.RoleOperator}
	return o
}

// forEverybody marks an operation that anybody who is known may use.
func forEverybody(o huma.Operation) huma.Operation {
	o.Metadata = map[string]any{needs: needsUser}
	return o
}

// allowed reports whether the caller may use the operation: what only looks is
// for viewers too, the rest for operators, unless it is marked. So a
// new operation that changes something is an operator's from the first day.
func allowed(c Caller, o *huma.Operation) bool {
	if c.Role == snapline.RoleOperator {
		return true
	}
	switch o.Metadata[needs] {
	case snapline.RoleOperator:
		return false
	case needsUser:
		return true
	}
	return c.Role == snapline.RoleViewer && o.Method == http.MethodGet
}

type auditKey struct{}

// guard refuses what the caller may not do, and notes what changes something:
// before it is done, and how it went. What cannot be noted is not done.
func (s Server) guard(c huma.Context, next func(huma.Context)) {
	caller, o := CallerOf(c.Context()), c.Operation()
	may := allowed(caller, o)
	if may && o.Method == http.MethodGet {
		next(c)
		return
	}
	e := &snapline.AuditEntry{Who: caller.Name, From: caller.From, Action: o.OperationID, Target: target(c, o), Outcome: "asked"}
	if !may {
		e.Outcome = string(snapline.CodeDenied)
	}
	err := s.note(*e)
	switch {
	case !may:
		refuse(c, &snapline.Error{Code: snapline.CodeDenied, Message: caller.Name + " may look, and not change anything",
			Hint: "ask an operator; `snapline certificate list` shows who is one"})
	case err != nil:
		refuse(c, &snapline.Error{Code: snapline.CodeFailed, Message: "nothing was done, because it could not be noted: " + err.Error(), Hint: "make room on the coordinator's --data"})
	default:
		next(huma.WithValue(c, auditKey{}, e))
		e.Outcome = "done"
		if c.Status() == http.StatusAccepted {
			e.Outcome = "started"
		} else if c.Status() >= 300 {
			e.Outcome = string(codeOf(c.Status()))
		}
		if err := s.note(*e); err != nil && s.Log != nil {
			s.Log.Error("write the audit log", "entry", *e, "error", err)
		}
	}
}

func (s Server) note(e snapline.AuditEntry) error {
	if s.Audit == nil {
		return nil
	}
	e.At = time.Now().UTC().Truncate(time.Second)
	return s.Audit(e)
}

// detail adds what came of a request to its line in the audit log.
func detail(ctx context.Context, text string) {
	if e, ok := ctx.Value(auditKey{}).(*snapline.AuditEntry); ok {
		e.Detail = text
	}
}

// began is out for an operation that has started.
func began(ctx context.Context, o snapline.Operation, err error) (*body[snapline.Operation], error) {
	if err != nil {
		detail(ctx, err.Error())
	} else {
		detail(ctx, string(o.ID))
	}
	return out(o, err)
}

var pathParameter = regexp.MustCompile(`{([a-z]+)}`)

// target is what a request is about: the names in its path, or else in its body.
func target(c huma.Context, o *huma.Operation) string {
	var names []string
	for _, m := range pathParameter.FindAllStringSubmatch(o.Path, -1) {
		names = append(names, c.Param(m[1]))
	}
	if len(names) > 0 {
		return strings.Join(names, "/")
	}
	reader, ok := c.BodyReader().(io.ReadSeeker)
	if !ok {
		return ""
	}
	b, err := io.ReadAll(reader)
	if _, again := reader.Seek(0, io.SeekStart); err != nil || again != nil {
		return ""
	}
	var q struct{ Group, Host, Principal string }
	_ = json.NewDecoder(bytes.NewReader(b)).Decode(&q) // the handler will say so
	return q.Group + q.Host + q.Principal
}

// refuse answers with a problem in the handler's place.
func refuse(c huma.Context, e *snapline.Error) {
	p := NewProblem(e)
	c.SetHeader("Content-Type", problemType)
	c.SetStatus(p.Status)
	_ = json.NewEncoder(c.BodyWriter()).Encode(p) // the client may have gone
}
