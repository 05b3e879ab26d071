package qemu

import (
	"errors"
	"os"
	"strconv"
	"strings"
)

// availableMemory is what the kernel reckons it can give without swapping, in
// bytes (proc_meminfo(5), MemAvailable).
func availableMemory() (int64, error) {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "MemAvailable:"); ok {
			return kibibytes(strings.Fields(rest))
		}
	}
	return 0, errors.New("/proc/meminfo: no MemAvailable")
}

// residentMemory is what the process's end would free, in bytes; 0 if unknown.
func (p *process) residentMemory() int64 {
	words, err := p.statusField("VmRSS")
	if err != nil {
		return 0
	}
	n, _ := kibibytes(words)
	return n
}

// kibibytes reads "123 kB".
func kibibytes(words []string) (int64, error) {
	if len(words) == 0 {
		return 0, errors.New("no number")
	}
	n, err := strconv.ParseInt(words[0], 10, 64)
	return n << 10, err
}
