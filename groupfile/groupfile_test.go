package groupfile

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/snapline/snapline"
)

const good = `# three of a kind
group: etcd
members:
  - name: n1
    host: h1
    qemu: { qmp: /run/vms/n1.qmp }
  - {name: "n2", host: 007, qemu: {qmp: /run/vms/n1.qmp}}
anti_affinity:
  - [n1, n2]
`

func TestParse(t *testing.T) {
	g, err := Parse("g.yaml", []byte(good))
	if err != nil {
		t.Fatal(err)
	}
	want := snapline.Group{Name: "etcd", Members: []snapline.Member{
		{Name: "n1", Host: "h1", QEMU: &snapline.QEMU{QMP: "/run/vms/n1.qmp"}},
		{Name: "n2", Host: "007", QEMU: &snapline.QEMU{QMP: "/run/vms/n1.qmp"}},
	}, AntiAffinity: [][]snapline.MemberName{{"n1", "n2"}}}
	if diff := cmp.Diff(want, g); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestProblems(t *testing.T) {
	member := func(s string) string { return "group: g\nmembers:\n- " + s }
	for _, c := range []struct{ file, want string }{
		{"", "1: the file is empty"},
		{"# nothing\n", "1: the file is empty"},
		{"x", "1: a group file is a mapping with group, members, anti_affinity, not a text"},
		{"a: b: c", "1: mapping values are not allowed in this context"},
		{"group: g\nmembers: []", "2: members is empty: list at least one"},
		{"group: g\nmembers: 3", "2: members is a text, not a list"},
		{"group: g\nmembers: {a: b}", "2: members is a mapping, not a list"},
		{"group: g\nmembers:\n", "2: members is missing: list at least one"},
		{"group: g\nmember: []", `1: members is missing: list at least one|2: unknown key "member" (did you mean "members"?)`},
		{"group: g\nmembers:\n- x\n", "3: a member is a mapping with name, host, qemu, not a text"},
		{member("{name: n1, host: h1, qemu: {qpm: /a}}"), `3: unknown key "qpm" (did you mean "qmp"?)|3: qmp is missing`},
		{member("{name: n1, host: h1, qemu: {qmp: a/b}}"), `3: qmp "a/b" is not an absolute path`},
		{member("{name: n1, host: h1, qemu: /a}"), "3: qemu is a mapping with qmp, not a text"},
		{member("{name: n1, host: h1}"), "3: qemu is missing: write qemu: { qmp: /path/of/the/monitor.sock }"},
		{member("{name: n1, qemu: {qmp: /a}}"), "3: host is missing"},
		{member("{name: n1, host: , qemu: {qmp: /a}}"), "3: host is missing"},
		{member("{name: [n1], host: h1, qemu: {qmp: /a}}"), "3: name is a list, not a text"},
		{member("{name: N1, host: h1, qemu: {qmp: /a}}"), `3: member name "N1": use 1 to 63 of a-z, 0-9 and '-', beginning and ending with a letter or digit`},
		{member("{name: n1, host: h1, disk: x, qemu: {qmp: /a}}"), `3: unknown key "disk" (known: name, host, qemu)`},
		{member("name: n1\n  host: h1\n  host: h2\n  qemu: {qmp: /a}"), `5: key "host" is given already in line 4`},
		{member("{name: n1, host: h1, qemu: {qmp: /a}}\n- {name: n1, host: h1, qemu: {qmp: /x/../a}}"),
			`4: member "n1" is declared already in line 3|4: qmp /x/../a on host h1 belongs already to the member in line 3`},
		{member("&a {name: n1, host: h1, qemu: {qmp: /a}}\n- *a"), "4: aliases (*a) cannot be used in a group file"},
		{good + "---\ngroup: more\n", "10: a second document begins: one file declares one group"},
		{member("{name: n1, host: h1, qemu: {qmp: /a}}\nanti_affinity: n1"), "4: anti_affinity is a text, not a list of lists of members"},
		{member("{name: n1, host: h1, qemu: {qmp: /a}}\nanti_affinity: [n1]"), "4: anti_affinity has a text in it, not a list of members: write - [n1, n2]"},
		{member("{name: n1, host: h1, qemu: {qmp: /a}}\nanti_affinity:\n- [n1, n1]\n- [n1]\n- [n1, n7, [x]]"),
			`5: member "n1" is named twice|6: it takes two members to be kept apart|7: the group has no member "n7"|7: a member's name is a list, not a text`},
		{strings.Repeat("#", MaxBytes+1), fmt.Sprintf("1: the file is larger than %d bytes", MaxBytes)},
	} {
		_, err := Parse("f", []byte(c.file))
		var e *snapline.Error
		if !errors.As(err, &e) || e.Code != snapline.CodeInvalid {
			t.Errorf("%.80q: %v, want %s", c.file, err, c.want)
			continue
		}
		lines := []string{e.Message}
		if len(e.Reasons) > 0 {
			lines = nil
			for _, r := range e.Reasons {
				lines = append(lines, r.Text)
			}
		}
		want := "f:" + strings.ReplaceAll(c.want, "|", "\nf:")
		if got := strings.Join(lines, "\n"); got != want {
			t.Errorf("%.80q:\n got %s\nwant %s", c.file, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(good)
	f.Add("group: g\nmembers:\n- {name: n1, host: h1, qemu: {qpm: /a}}\n---\n")
	f.Add("? [a]\n: &x {y: *x}\n<<: *x\n\t")
	f.Fuzz(func(t *testing.T, data string) {
		g, err := Parse("f", []byte(data))
		if err == nil {
			if len(g.Members) == 0 || snapline.CheckName("group", string(g.Name)) != nil {
				t.Fatalf("accepted %+v", g)
			}
			return
		}
		var e *snapline.Error
		if !errors.As(err, &e) || e.Code != snapline.CodeInvalid {
			t.Fatalf("error %#v", err)
		}
		if len(e.Reasons) == 0 && !strings.HasPrefix(e.Message, "f:") {
			t.Fatalf("no line in %q", e.Message)
		}
		for _, r := range e.Reasons {
			if !strings.HasPrefix(r.Text, "f:") || strings.HasPrefix(r.Text, "f:0:") {
				t.Fatalf("no line in %q", r.Text)
			}
		}
	})
}
