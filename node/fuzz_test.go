package node_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/snapline/snapline"
)

// FuzzWhatAgentsSay sends anything, as an agent that has joined, to where agents
// may speak: it gets an answer to each question, and the others do not suffer.
func FuzzWhatAgentsSay(f *testing.F) {
	f.Add([]byte(`{"host":"h9","incarnation":"x","version":"1","hypervisor":"QEMU","leased":[{"group":"g","member":"n1"}]}`))
	f.Add([]byte(`{"host":"h1","incarnation":"ffff"}`))
	f.Add([]byte(`{"group":"g","round":1,"member":"n1","step":"x","bytes":-1,"total":0}`))
	f.Add([]byte(`{"kind":"Refused","body":{"group":"g","round":18446744073709551615,"member":"n1","reasons":null}}`))
	f.Add([]byte(`{"kind":"Stored","body":{"group":"g","round":1,"member":"n1","part":{}}}`))
	f.Add([]byte(`{"host":"h9","now":5,"members":[{"group":"g","member":"n1","since":9223372036854775807,"own":["::"],"peers":[{"a":"192.0.2.1","l":-9223372036854775808}],"lost":7,"ended":true}]}`))
	f.Add([]byte(`{"peers":{"group":"g","age_ns":9223372036854775807}}`))
	f.Add([]byte(`{"kind":"RestoreFailed","body":{"op":"restore-1","host":"h9"}}`))
	s := newSite(f)
	evil := s.bus.As(snapline.ToAgent("h9"))
	f.Fuzz(func(t *testing.T, b []byte) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		for _, to := range []snapline.Address{"coordinator.hello", "coordinator.peers"} {
			answer, err := evil.Ask(ctx, to, b)
			if err != nil || !json.Valid(answer) {
				t.Fatalf("%s answers %q, %v", to, answer, err)
			}
		}
		for _, to := range []snapline.Address{snapline.ToCoordinator, "coordinator.progress", snapline.ToAgent("h1")} {
			if err := evil.Send(ctx, to, b); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := evil.Ask(ctx, snapline.ToAgent("h1"), b); err != nil {
			t.Fatal(err)
		}
		hosts, err := s.c.Hosts(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range hosts {
			if h.Name != "h9" && h.Agent != "online" || len(h.Version) > 200 || len(h.Hypervisor) > 200 {
				t.Fatalf("host %+v", h)
			}
		}
	})
}

func TestHelloIsBounded(t *testing.T) {
	s := newSite(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	evil := s.bus.As(snapline.ToAgent("h9"))
	for _, c := range []struct {
		hypervisor int
		want       string
	}{{1000, `"repository":"memory"`}, {1 << 20, "a hello of"}} {
		hello := `{"host":"h9","incarnation":"x","hypervisor":"` + strings.Repeat("x", c.hypervisor) + `"}`
		answer, err := evil.Ask(ctx, "coordinator.hello", []byte(hello))
		if err != nil || !strings.Contains(string(answer), c.want) {
			t.Errorf("%d bytes: %s, %v", c.hypervisor, answer, err)
		}
	}
	hosts, err := s.c.Hosts(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range hosts {
		if len(h.Hypervisor) > 200 {
			t.Errorf("%d bytes were kept", len(h.Hypervisor))
		}
	}
}
