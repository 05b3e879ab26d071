package gentle

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// stalls say how long, since boot, some task has waited for something that
// others had (Documentation/accounting/psi.rst, "some").
type stalls struct{ cpu, io, memory time.Duration }

// readStalls reads /proc/pressure.
func readStalls() (s stalls, err error) {
	for name, total := range map[string]*time.Duration{"cpu": &s.cpu, "io": &s.io, "memory": &s.memory} {
		b, err := os.ReadFile("/proc/pressure/" + name)
		if err == nil {
			*total, err = parseStall(b)
		}
		if err != nil {
			return s, fmt.Errorf("pressure of %s: %w", name, err)
		}
	}
	return s, nil
}

// parseStall finds the total of the line "some", in µs.
func parseStall(b []byte) (time.Duration, error) {
	for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 || fields[0] != "some" {
			continue
		}
		for _, f := range fields {
			if us, ok := strings.CutPrefix(f, "total="); ok {
				n, err := strconv.ParseInt(us, 10, 64)
				return time.Duration(n) * time.Microsecond, err
			}
		}
	}
	return 0, fmt.Errorf("no total in %q", b)
}

// busy reports whether tasks have waited for more than the usual jitter in the
// time between two readings.
func busy(before, after stalls, d time.Duration) bool {
	return after.cpu-before.cpu > d/5 || after.io-before.io > d/5 || after.memory-before.memory > d/20
}
