package cli

import (
	"bytes"
	"testing"

	"github.com/snapline/snapline"
)

func TestPrintPlace(t *testing.T) {
	for _, c := range []struct {
		name string
		plan snapline.RecoveryPlan
		want string
	}{
		{"no caches", snapline.RecoveryPlan{Place: map[snapline.MemberName]snapline.HostName{"n1": "h1"}},
			"MEMBER  HOST\nn1      h1\n"},
		{"caches", snapline.RecoveryPlan{
			Place:     map[snapline.MemberName]snapline.HostName{"n1": "h3", "n2": "h2", "n3": "h1"},
			Otherwise: map[snapline.MemberName]snapline.HostName{"n1": "h1", "n2": "h2", "n3": "h3"},
			Near:      map[snapline.MemberName]snapline.Nearness{"n1": {Bytes: 80 << 20, Of: 90 << 20}, "n2": {Of: 5 << 20}},
		}, `MEMBER  HOST  IN ITS CACHE
n1      h3    80.0 MiB of 90.0 MiB
n2      h2    0 B of 5.0 MiB
n3      h1
n1 would go to h1 if no host had any of the snapshot in its cache
n3 would go to h3 if no host had any of the snapshot in its cache
`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			if err := printPlace(printer{out: &out}, c.plan); err != nil || out.String() != c.want {
				t.Errorf("%v:\n%s\nwant:\n%s", err, out.String(), c.want)
			}
		})
	}
}
