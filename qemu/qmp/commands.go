package qmp

// returns ties the command that embeds it to its answer's type.
type returns[R any] struct{}

func (returns[R]) Returns(R) {}

// Negotiate leaves capabilities negotiation mode.
type Negotiate struct {
	returns[Nothing]
	Enable []string `json:"enable,omitempty"`
}

func (Negotiate) Command() string { return "qmp_capabilities" }

// QueryStatus asks for the run state.
type QueryStatus struct{ returns[Status] }

func (QueryStatus) Command() string { return "query-status" }

// Status is the run state.
type Status struct {
	Status  string `json:"status"` // running, paused, postmigrate, inmigrate, …
	Running bool   `json:"running"`
}

// Stop stops the virtual CPUs.
type Stop struct{ returns[Nothing] }

func (Stop) Command() string { return "stop" }

// Cont starts them again.
type Cont struct{ returns[Nothing] }

func (Cont) Command() string { return "cont" }

// GetFD stores the descriptor that is sent with it under a name.
type GetFD struct {
	returns[Nothing]
	Name string `json:"fdname"`
}

func (GetFD) Command() string { return "getfd" }

// CloseFD closes a stored descriptor that nothing has used.
type CloseFD struct {
	returns[Nothing]
	Name string `json:"fdname"`
}

func (CloseFD) Command() string { return "closefd" }

// AnnounceSelf sends RARP frames with the guest's addresses: Rounds of them,
// Initial ms apart, each gap Step ms longer, Max ms at the most.
type AnnounceSelf struct {
	returns[Nothing]
	Initial int64 `json:"initial"`
	Max     int64 `json:"max"`
	Rounds  int64 `json:"rounds"`
	Step    int64 `json:"step"`
}

func (AnnounceSelf) Command() string { return "announce-self" }

// HMP runs a command of the human monitor, for what QMP has no command.
type HMP struct {
	returns[string]
	Line string `json:"command-line"`
}

func (HMP) Command() string { return "human-monitor-command" }
