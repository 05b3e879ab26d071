package cli

import (
	"slices"
	"testing"
)

func TestMaxCPU(t *testing.T) {
	for text, want := range map[string]float64{"50%": 4, "100%": 8, "12.5%": 1, "1%": 0.08} {
		f := gentleFlags{maxCPU: text}
		if got, err := f.processors(8); err != nil || got != want {
			t.Errorf("%s of 8 processors: %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "50", "0%", "101%", "-5%", "%", "NaN%", "Inf%", "half"} {
		f := gentleFlags{maxCPU: text}
		if got, err := f.processors(8); err == nil {
			t.Errorf("%q is taken for %v processors", text, got)
		}
	}
}

// TestStoreCommand: what the agent was told of the repository, its workers are
// told; no secret is on a command line.
func TestStoreCommand(t *testing.T) {
	args := storeCommand("/srv/repo", secretFlags{keyFile: "/etc/key"}, storageFlags{cacheSize: "1GiB", uploadRate: "5MiB/s"}, "/var/cache")
	for _, pair := range [][]string{{"--repo", "/srv/repo"}, {"--key-file", "/etc/key"}, {"--cache", "/var/cache"}, {"--cache-size", "1GiB"}, {"--upload-rate", "5MiB/s"}} {
		if i := slices.Index(args, pair[0]); i < 0 || args[i+1] != pair[1] {
			t.Errorf("no %v in %v", pair, args)
		}
	}
	if slices.Contains(args, "--passphrase-file") {
		t.Errorf("nobody gave one: %v", args)
	}
	cmd := NewStoreCommand()
	if err := cmd.ParseFlags(args[2:]); err != nil {
		t.Errorf("the worker does not understand %v: %v", args, err)
	}
}
