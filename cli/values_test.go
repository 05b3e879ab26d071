package cli

import (
	"testing"
)

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "": 0, "20GiB": 20 << 30, "500 MB": 500e6, "4096": 4096} {
		if got, err := parseSize(text); err != nil || got != want {
			t.Errorf("%q is %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"20G/s", "1MiB/s", "8Mbit", "-1", "many"} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("%q is %d", text, got)
		}
	}
}

func TestCleanText(t *testing.T) {
	for s, want := range map[string]string{
		"a\tb\nö": "a\tb\nö", "\x1b[2Jx\r": "�[2Jx�", "a\u202eb\x00\u0085": "a�b��", "\x9b31m": "�31m",
	} {
		if got := clean(s); got != want {
			t.Errorf("clean(%q) = %q, want %q", s, got, want)
		}
	}
}
