package api

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/snapline/snapline"
)

func read(stream string) (all []event, err error) {
	r := newEventReader(strings.NewReader(stream), func() {})
	for {
		e, err := r.next()
		if err != nil {
			return all, err
		}
		all = append(all, e)
	}
}

func TestEventReader(t *testing.T) {
	for _, c := range []struct{ stream, want string }{
		{"", ""},
		{": keep-alive\n\n", ""},
		{"id: 1\ndata: a\n\n", "=a"},
		{"id: 1\r\ndata: a\r\n\r\n", "=a"},
		{"data:a\ndata: b\n\n", "=a\nb"},
		{"event: end\ndata: {}\n\n", "end={}"},
		{"event: end\n\ndata: x\n\n", "=x"},
		{"data: a\n\ndata: cut off\n", "=a"},
		{"data: a\n\ndata: cut o", "=a"},
		{"retry: 5\nwhat: ever\nlonely\ndata: a\n\n", "=a"},
	} {
		all, err := read(c.stream)
		var got []string
		for _, e := range all {
			got = append(got, e.name+"="+string(e.data))
		}
		if err == nil || strings.Join(got, "|") != c.want {
			t.Errorf("%q: %q, %v; want %q", c.stream, got, err, c.want)
		}
	}
}

func FuzzEventReader(f *testing.F) {
	f.Add("id: 1\ndata: a\n\n: c\n\nevent: end\ndata: {}\n\n", 7)
	f.Fuzz(func(t *testing.T, stream string, cut int) {
		whole, _ := read(stream)
		// A stream that was cut off must give the beginning of the whole one's
		// events, never another event.
		part, _ := read(stream[:min(max(cut, 0), len(stream))])
		if len(part) > len(whole) {
			t.Fatalf("%d events of a part, %d of the whole", len(part), len(whole))
		}
		for i, e := range part {
			if e.name != whole[i].name || string(e.data) != string(whole[i].data) {
				t.Fatalf("event %d: %q %q, whole: %q %q", i, e.name, e.data, whole[i].name, whole[i].data)
			}
		}
	})
}

// TestKeepAlive: a quiet stream shows that it is alive more often than a client
// would take it for dead.
func TestKeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), silence+time.Second)
		w := httptest.NewRecorder()
		s := stream[snapline.Progress]{w: w, rc: http.NewResponseController(w)}
		s.run(ctx, cancel, func(func(snapline.Progress) bool) { <-ctx.Done() })
		if n := strings.Count(w.Body.String(), ": keep-alive\n\n"); n < 3 {
			t.Errorf("%d keep-alives in %v: %q", n, silence, w.Body)
		}
		if strings.Contains(w.Body.String(), endEvent) {
			t.Errorf("a stream that was broken off says that it has ended: %q", w.Body)
		}
	})
}
