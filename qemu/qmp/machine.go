package qmp

import "encoding/json"

// QueryKVM asks which accelerator runs the machine.
type QueryKVM struct{ returns[KVM] }

func (QueryKVM) Command() string { return "query-kvm" }

// KVM says whether KVM is in use.
type KVM struct {
	Enabled bool `json:"enabled"`
	Present bool `json:"present"`
}

// QueryMemory asks for the machine's memory.
type QueryMemory struct{ returns[Memory] }

func (QueryMemory) Command() string { return "query-memory-size-summary" }

// Memory is in bytes.
type Memory struct {
	Base    int64 `json:"base-memory"`
	Plugged int64 `json:"plugged-memory"`
}

// QueryCPUs asks for the virtual CPUs.
type QueryCPUs struct{ returns[[]CPU] }

func (QueryCPUs) Command() string { return "query-cpus-fast" }

// CPU is one virtual CPU.
type CPU struct {
	Index  int `json:"cpu-index"`
	Thread int `json:"thread-id"`
}

// QueryBalloon asks for the balloon's size; refused where there is no balloon.
type QueryBalloon struct{ returns[Balloon] }

func (QueryBalloon) Command() string { return "query-balloon" }

// Balloon is in bytes.
type Balloon struct {
	Actual int64 `json:"actual"`
}

// QueryMemoryDevices asks for pluggable memory, virtio-mem among it.
type QueryMemoryDevices struct{ returns[[]MemoryDevice] }

func (QueryMemoryDevices) Command() string { return "query-memory-devices" }

// MemoryDevice is one of them.
type MemoryDevice struct {
	Type string `json:"type"` // dimm, nvdimm, virtio-mem, …
}

// QOMList lists the properties and children of an object.
type QOMList struct {
	returns[[]Property]
	Path string `json:"path"`
}

func (QOMList) Command() string { return "qom-list" }

// Property is a property; a child's type is child<TYPE>.
type Property struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// QOMGet reads a property.
type QOMGet struct {
	returns[json.RawMessage]
	Path     string `json:"path"`
	Property string `json:"property"`
}

func (QOMGet) Command() string { return "qom-get" }
