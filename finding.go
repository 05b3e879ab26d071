package snapline

// FindingState says how good a finding is.
type FindingState string

const (
	FindingOK      FindingState = "ok"
	FindingWarning FindingState = "warning" // it works, but not as well as it could
	FindingProblem FindingState = "problem" // something will be refused or fail
)

// Finding is one thing that "snapline doctor" has looked at, and what it saw.
type Finding struct {
	Host   HostName   `json:"host,omitempty"`
	Member MemberName `json:"member,omitempty"`
	// Check is the name of what was looked at: kernel, tcx, qemu, clock, path, …
	Check string       `json:"check"`
	State FindingState `json:"state"`
	Text  string       `json:"text"`
	// Hint says what to do about it; empty where nothing needs to be done.
	Hint string `json:"hint,omitempty"`
}
