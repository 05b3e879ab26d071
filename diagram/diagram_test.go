package diagram

import (
	"encoding/json"
	"errors"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/snapline/snapline/evidence"
)

func write(t testing.TB, d *evidence.Diagram, title string) string {
	t.Helper()
	var b strings.Builder
	if err := Write(&b, d, title); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

var dataElement = regexp.MustCompile(`(?s)<script type="application/json" id="data">(.*?)</script>`)

func dataOf(t *testing.T, page string) *evidence.Diagram {
	t.Helper()
	m := dataElement.FindAllStringSubmatch(page, -1)
	if len(m) != 1 {
		t.Fatalf("%d data elements", len(m))
	}
	d := new(evidence.Diagram)
	if err := json.Unmarshal([]byte(m[0][1]), d); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDataReturn(t *testing.T) {
	d := cluster{members: 3, packets: 500}.diagram()
	if got := dataOf(t, write(t, d, "a")); !reflect.DeepEqual(got, d) {
		t.Error("the page holds other data than were written")
	}
}

// hostile is a diagram whose every string wants to be markup, or a placeholder.
func hostile() *evidence.Diagram {
	const attack = `</script><script>window.owned = 1</script><img src=x onerror="window.owned = 1">@DATA@ @TITLE@ <!-- <script>`
	d := pair()
	d.Verdict = attack
	d.State = attack
	d.Members[0].Name, d.Members[1].Host, d.Flows[0], d.Classes[4] = attack, attack, attack, attack
	return d
}

func TestDataCannotBreakOut(t *testing.T) {
	d := hostile()
	page := write(t, d, d.Verdict)
	if got := dataOf(t, page); !reflect.DeepEqual(got, d) {
		t.Error("the data have changed")
	}
	if strings.Contains(page, "<script>window.owned") || strings.Contains(page, "<img") {
		t.Error("a string of the data has become markup")
	}
	// One for the data, one for the program: the one with a digest.
	if n := strings.Count(page, "</script>"); n != 2 {
		t.Errorf("%d scripts end in the page", n)
	}
}

func TestPageIsSelfContained(t *testing.T) {
	for _, hole := range []string{"@TITLE@", "@VERDICT@", "@DATA@"} {
		if n := strings.Count(page, hole); n != 1 {
			t.Errorf("%s is %d times in page.html", hole, n)
		}
	}
	for _, outside := range []string{`<script[^>]* src`, `<link[^>]* href="[^d]`, `url\(`, `@import`, `\bimport\(`, `\bfetch\(`, `XMLHttpRequest`, `WebSocket`, `sourceMappingURL`} {
		if m := regexp.MustCompile(outside).FindString(page); m != "" {
			t.Errorf("page.html loads something: %s", m)
		}
	}
	if !regexp.MustCompile(`content="default-src 'none'; script-src 'sha256-[^']+'; style-src 'sha256-[^']+'; img-src data:; base-uri 'none'; form-action 'none'"`).MatchString(page) {
		t.Error("page.html has another content security policy than the one that forbids everything")
	}
	if len(page) > 80<<10 {
		t.Errorf("page.html has %d bytes", len(page))
	}
}

func TestWriteReportsTheWriter(t *testing.T) {
	if err := Write(brokenWriter{}, pair(), "a"); !errors.Is(err, errBroken) {
		t.Error(err)
	}
}

var errBroken = errors.New("broken")

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }
