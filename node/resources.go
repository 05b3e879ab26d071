package node

import (
	"fmt"
	"os"
	"runtime"
	"strings"
)

// Resources is what a host has for virtual machines.
type Resources struct {
	MemoryBytes    int64 `json:"memory_bytes"`    // all of it
	AvailableBytes int64 `json:"available_bytes"` // without swapping, as the kernel reckons
	Cores          int   `json:"cores"`           // that this process may use
}

// HostResources reads them from the kernel.
func HostResources() (Resources, error) {
	r := Resources{Cores: runtime.NumCPU()}
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return r, err
	}
	for line := range strings.Lines(string(b)) {
		var name string
		var kib int64
		if n, _ := fmt.Sscanf(line, "%s %d", &name, &kib); n != 2 {
			continue
		}
		switch name {
		case "MemTotal:":
			r.MemoryBytes = kib << 10
		case "MemAvailable:":
			r.AvailableBytes = kib << 10
		}
	}
	if r.MemoryBytes == 0 || r.AvailableBytes == 0 {
		return r, fmt.Errorf("/proc/meminfo: no MemTotal or MemAvailable")
	}
	return r, nil
}
