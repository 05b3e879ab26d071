package api

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/snapline/snapline"
)

// enums are the values of the vocabulary's enumerations, by schema and
// property. In requests they are enforced.
var enums = [...]struct {
	schema, property string
	values           []any
}{
	{"TakeRequest", "strategy", []any{string(snapline.Colour), string(snapline.Barrier)}},
	{"CutReport", "strategy", []any{string(snapline.Colour), string(snapline.Barrier)}},
	{"CaptureReport", "method", []any{"background-snapshot", "stop-and-copy"}},
	{"Operation", "kind", []any{"take", "restore", "prune", "repair", "drain"}},
	{"Operation", "state", []any{"running", "done", "failed"}},
	{"MemberStatus", "agent", []any{"online", "offline", "unknown"}},
	{"MemberStatus", "vm", []any{"running", "paused", "gone", "unreachable", "unknown"}},
	{"Finding", "state", []any{string(snapline.FindingOK), string(snapline.FindingWarning), string(snapline.FindingProblem)}},
	{"HostStatus", "agent", []any{"online", "offline"}},
	{"Event", "kind", words(snapline.EventKinds())},
	{"Protection", "state", words(snapline.ProtectionStates())},
}

func words[T ~string](list []T) (all []any) {
	for _, w := range list {
		all = append(all, string(w))
	}
	return all
}

// requests are the schemas of what clients send: only in these is a field that
// nobody knows a mistake. In an answer it is a later version's.
var requests = [...]string{"Group", "Member", "QEMU", "TakeRequest", "Placement", "PruneRequest", "KeepPolicy",
	"TokenRequest", "CertificateRequest", "RenewRequest",
	"ProtectBody", "DrainBody"}

// describe completes the OpenAPI document with what the vocabulary's types
// cannot say about themselves: the values of enumerations and the errors.
func describe(doc *huma.OpenAPI) {
	reg := doc.Components.Schemas
	problem := reg.Schema(reflect.TypeFor[Problem](), true, "")
	errorAnswer := &huma.Response{
		Description: describeCodes(),
		Content:     map[string]*huma.MediaType{problemType: {Schema: problem}},
	}
	for _, item := range doc.Paths {
		for _, o := range []*huma.Operation{item.Get, item.Put, item.Post, item.Delete} {
			if o != nil {
				describeErrors(o, errorAnswer)
			}
		}
	}
	delete(reg.Map(), "ErrorModel")
	delete(reg.Map(), "ErrorDetail")
	for _, schema := range []string{"Problem", "Error"} {
		setEnum(reg, schema, "code", codeValues())
	}
	for _, e := range enums {
		setEnum(reg, e.schema, e.property, e.values)
	}
	for name, s := range reg.Map() {
		if !slices.Contains(requests[:], name) {
			s.AdditionalProperties = nil
		}
	}
}

func setEnum(reg huma.Registry, schema, property string, values []any) {
	s := reg.Map()[schema]
	s.Properties[property].Enum = values
	s.PrecomputeMessages()
}

// describeErrors replaces the error answers that huma assumes by ours.
func describeErrors(o *huma.Operation, answer *huma.Response) {
	for status := range o.Responses {
		if status[0] != '2' {
			delete(o.Responses, status)
		}
	}
	o.Responses["default"] = answer
	if ok := o.Responses["200"]; ok != nil && ok.Content["application/json"] != nil {
		ok.Content["application/json"].Schema.Nullable = false // see list
	}
}

func describeCodes() string {
	var rows []string
	for _, row := range codes {
		rows = append(rows, fmt.Sprintf("%s %d", row.code, row.status))
	}
	return "Any error. The code's status: " + strings.Join(rows, ", ") + "."
}

func codeValues() []any {
	var all []any
	for _, row := range codes {
		all = append(all, string(row.code))
	}
	return all
}
