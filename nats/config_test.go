package nats

import "testing"

// TestServerFsyncsEachWrite reads back what the server runs with. SIGKILL cannot
// show it: the page cache survives a process.
func TestServerFsyncsEachWrite(t *testing.T) {
	s, err := StartServer(ServerOptions{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown()
	c := s.ns.JetStreamConfig()
	if !c.SyncAlways || c.MaxStore != defaultMaxStore || c.MaxMemory != maxMemory {
		t.Errorf("JetStream runs with %+v", c)
	}
}

func TestFilter(t *testing.T) {
	for prefix, want := range map[string]string{
		"": ">", "group": ">", "group.": "group.>", "group.et": "group.>", "a.b.c": "a.b.>", "*.": ">", ".": ">", "a..b": ">",
	} {
		if got := filter(prefix); got != want {
			t.Errorf("filter(%q) = %q, want %q", prefix, got, want)
		}
	}
}
