package cli

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/snapline/snapline"
)

func TestPrintLost(t *testing.T) {
	at := time.Date(2026, 11, 27, 12, 0, 30, 0, time.Local)
	last := at.Add(-10 * time.Second)
	for _, c := range []struct {
		lost snapline.LostInterval
		want string
	}{
		{snapline.LostInterval{PeersFrom: "nothing"}, "  no address outside the group is known to have seen it\n  known from nothing\n"},
		{snapline.LostInterval{PeersFrom: "their taps", Gaps: []snapline.Reason{{Member: "n2", Host: "h2", Text: "it died"}}, Peers: []snapline.LostPeer{
			{Member: "n1", Address: netip.MustParseAddr("192.0.2.9"), Last: &last}, {Member: "n2", Address: netip.MustParseAddr("2001:db8::9")},
		}}, `  n1: 192.0.2.9 may have seen it; the last packet for it left 2026-11-27 12:00:20
  n2: 2001:db8::9 may have seen it; it was seen during the cut
  known from their taps
  - n2 on h2: it died
`},
	} {
		c.lost.From, c.lost.To = at.Add(-20*time.Second), at
		var out bytes.Buffer
		want := "restored 2026-11-27 12:00:30: what the group did since the snapshot is lost (20s)\n" + c.want
		if err := printLost(printer{out: &out}, at, c.lost); err != nil || out.String() != want {
			t.Errorf("%v:\n%s\nwant:\n%s", err, out.String(), want)
		}
	}
}
