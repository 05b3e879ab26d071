package qmp

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// entity is one SchemaInfo of query-qmp-schema (docs/devel/qapi-code-gen).
type entity struct {
	Name    string `json:"name"`
	Kind    string `json:"meta-type"`
	Arg     string `json:"arg-type"`
	Ret     string `json:"ret-type"`
	Element string `json:"element-type"`
	Members []struct {
		Name    string          `json:"name"`
		Type    string          `json:"type"`
		Default json.RawMessage `json:"default"` // present: optional
	} `json:"members"`
}

type querySchema struct{ returns[[]entity] }

func (querySchema) Command() string { return "query-qmp-schema" }

// check compares one command with the schema.
type check interface {
	against(t *testing.T, schema map[string]entity)
}

type command[R any] struct{ Command[R] }

func (c command[R]) against(t *testing.T, schema map[string]entity) {
	e, ok := schema[c.Command.Command()]
	if !ok || e.Kind != "command" {
		t.Errorf("QEMU has no command %s", c.Command.Command())
		return
	}
	compare(t, c.Command.Command(), reflect.TypeOf(c.Command), schema[e.Arg], schema, true)
	compare(t, c.Command.Command()+"'s answer", reflect.TypeFor[R](), schema[e.Ret], schema, false)
}

// compare checks that every field exists, and of arguments that no mandatory
// one is missing or can be left out.
func compare(t *testing.T, where string, ours reflect.Type, theirs entity, schema map[string]entity, args bool) {
	t.Helper()
	for ours.Kind() == reflect.Slice && theirs.Kind == "array" {
		ours, theirs = ours.Elem(), schema[theirs.Element]
	}
	if ours.Kind() == reflect.Pointer {
		ours = ours.Elem()
	}
	if ours.Kind() != reflect.Struct || theirs.Kind != "object" {
		return
	}
	fields := jsonFields(ours)
	members := map[string]bool{}
	for _, m := range theirs.Members {
		members[m.Name] = true
		f, have := fields[m.Name]
		mandatory := m.Default == nil
		if args && mandatory && (!have || f.optional) {
			t.Errorf("%s: mandatory argument %s is missing or may be", where, m.Name)
		}
		if have {
			compare(t, where+"."+m.Name, f.kind, schema[m.Type], schema, args)
		}
	}
	for name := range fields {
		if !members[name] {
			t.Errorf("%s: QEMU has no member %s", where, name)
		}
	}
}

type field struct {
	kind     reflect.Type
	optional bool
}

func jsonFields(t reflect.Type) map[string]field {
	fields := map[string]field{}
	for i := range t.NumField() {
		f := t.Field(i)
		tag, ok := f.Tag.Lookup("json")
		if !ok {
			if f.Anonymous && f.Type.Kind() == reflect.Struct {
				for name, inner := range jsonFields(f.Type) {
					fields[name] = inner
				}
			}
			continue
		}
		name, rest, _ := strings.Cut(tag, ",")
		fields[name] = field{f.Type, strings.Contains(rest, "omitempty")}
	}
	return fields
}

// TestCommandsAgainstSchema asks the QEMU that is installed here.
func TestCommandsAgainstSchema(t *testing.T) {
	program, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		t.Fatal("qemu-system-x86_64 is missing: make deps")
	}
	path := filepath.Join(t.TempDir(), "qmp")
	cmd := exec.Command(program, "-machine", "none", "-nodefaults", "-display", "none", "-S", "-qmp", "unix:"+path+",server=on,wait=off")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	c := dialReady(t, path)
	defer c.Close()
	all, err := Run(t.Context(), c, querySchema{})
	if err != nil {
		t.Fatal(err)
	}
	schema := map[string]entity{}
	for _, e := range all {
		schema[e.Name] = e
	}
	for _, c := range []check{
		command[Nothing]{Negotiate{}}, command[Status]{QueryStatus{}}, command[Nothing]{Stop{}}, command[Nothing]{Cont{}},
		command[Nothing]{GetFD{}}, command[Nothing]{CloseFD{}}, command[Nothing]{AnnounceSelf{}}, command[string]{HMP{}},
		command[KVM]{QueryKVM{}}, command[Memory]{QueryMemory{}}, command[[]CPU]{QueryCPUs{}},
		command[Balloon]{QueryBalloon{}}, command[[]MemoryDevice]{QueryMemoryDevices{}},
		command[[]Property]{QOMList{}}, command[json.RawMessage]{QOMGet{}},
		command[Nothing]{SetCapabilities{}}, command[[]Capability]{QueryCapabilities{}},
		command[Nothing]{SetParameters{}}, command[Parameters]{QueryParameters{}},
		command[Nothing]{Migrate{}}, command[Nothing]{MigrateIncoming{}}, command[Nothing]{MigrateCancel{}},
		command[Migration]{QueryMigrate{}},
	} {
		c.against(t, schema)
	}
}

// dialReady waits for a QEMU that is starting.
func dialReady(t *testing.T, path string) *Client {
	t.Helper()
	late := time.After(30 * time.Second)
	for {
		c, err := Dial(t.Context(), path)
		if err == nil {
			return c
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-late:
			t.Fatal(err)
		}
	}
}
