package cli

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/vbauerster/mpb/v8"

	"github.com/snapline/snapline"
)

// TestBars feeds the terminal display faster than it draws: it must neither
// lock up nor lose the last state, and keep its lines in the order of names.
func TestBars(t *testing.T) {
	var screen bytes.Buffer
	b := newBars(&screen, snapline.Operation{Kind: "take", Snapshot: "g-1"}, mpb.WithAutoRefresh(), mpb.WithRefreshRate(time.Millisecond), mpb.WithWidth(120))
	at := time.Unix(1_700_000_000, 0)
	names := []snapline.MemberName{"n3", "n1", "n2"}
	b.step(snapline.Progress{Phase: "store"})
	for i := range int64(500) {
		p := snapline.Progress{At: at.Add(time.Duration(i+1) * time.Millisecond), Member: names[i%3], Step: "storing", Bytes: i << 20, Total: 500 << 20}
		b.step(p)
		if i == 250 {
			b.say("a word in between")
		}
	}
	for _, n := range names {
		b.step(snapline.Progress{At: at, Member: n, Step: "stored"})
	}
	b.step(snapline.Progress{Done: true, Text: "done"})
	b.close()
	out := screen.String()
	if !strings.Contains(out, "a word in between\n") {
		t.Errorf("no word in between: %q", out)
	}
	last := out[strings.LastIndex(out, "take g-1: done"):]
	place := 0
	for _, n := range []string{"n1", "n2", "n3"} {
		i := strings.Index(last, n+" stored")
		if i < place {
			t.Errorf("%s is not stored, or out of order, at last: %q", n, last)
		}
		place = i
	}
}

func TestSizes(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1536: "1.5 KiB", 85 << 20: "85.0 MiB", 4 << 30: "4096.0 MiB", 16 << 30: "16.0 GiB"} {
		if got := size(n); got != want {
			t.Errorf("size(%d) = %s, want %s", n, got, want)
		}
	}
	if got := fmt.Sprint(duration(999.94), "|", duration(1000), "|", ms(4.26)); got != "999.9 ms|1.0 s|4.3 ms" {
		t.Error(got)
	}
}

func TestTimeLeft(t *testing.T) {
	began := time.Unix(1_700_000_000, 0)
	m := member{since: began, base: 100 << 20, now: began.Add(10 * time.Second), bytes: 200 << 20, total: 500 << 20}
	if got := m.rate() + ", " + m.left(); got != "10.0 MiB/s, 30s left" {
		t.Error(got)
	}
	m.bytes = m.base
	if got := m.left(); got != "" {
		t.Errorf("nothing has moved: %q", got)
	}
}
