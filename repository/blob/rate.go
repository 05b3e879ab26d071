package blob

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// units are the accepted ones, in bytes. Small letters do as well, except that
// bits are spelled out: "Mb" would mean either.
var units = []struct {
	name  string
	bytes float64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30},
	{"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9},
	{"kbit", 1e3 / 8}, {"Mbit", 1e6 / 8}, {"Gbit", 1e9 / 8},
	{"B", 1},
}

// ParseRate reads a rate such as "10MiB/s", "1.5 GB/s" or "100Mbit/s" as bytes
// per second; "/s" may be left out, and a bare number is bytes. "" and "0" mean
// no limit, which is 0.
func ParseRate(s string) (int64, error) {
	text := strings.TrimSpace(s)
	if text == "" {
		return 0, nil
	}
	number, factor := strings.TrimSpace(strings.TrimSuffix(text, "/s")), 1.0
	for _, u := range units {
		if rest, ok := cutSuffixFold(number, u.name); ok {
			number, factor = strings.TrimSpace(rest), u.bytes
			break
		}
	}
	if strings.Trim(number, "0123456789.") != "" { // no "1e9", "0x10", "Inf", "-1"
		return 0, rateError(s)
	}
	v, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return 0, rateError(s)
	}
	switch bytes := v * factor; {
	case bytes >= math.MaxInt64/2:
		return 0, fmt.Errorf("rate %q is too high; leave it out for no limit", s)
	case bytes == 0:
		return 0, nil
	case bytes < 1:
		return 0, fmt.Errorf("rate %q is less than a byte per second; 0 is no limit", s)
	default:
		return int64(bytes), nil
	}
}

func rateError(s string) error {
	return fmt.Errorf("rate %q: write it like 10MiB/s, 1.5GB/s or 100Mbit/s", s)
}

// cutSuffixFold is strings.CutSuffix that does not tell "MiB" from "mib", but
// "Mb" from "MB": a small b alone is neither byte nor bit for sure.
func cutSuffixFold(s, suffix string) (string, bool) {
	if len(s) < len(suffix) {
		return s, false
	}
	cut := len(s) - len(suffix)
	tail := s[cut:]
	if !strings.EqualFold(tail, suffix) {
		return s, false
	}
	if strings.HasSuffix(tail, "b") && !strings.Contains(strings.ToLower(tail), "ib") {
		return s, false
	}
	return s[:cut], true
}
