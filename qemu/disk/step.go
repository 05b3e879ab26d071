package disk

// step is one fact about a disk in the journal, in the order of its life. What
// recovery makes of it depends on the last one:
//
//	prepared    an overlay may exist; the guest has not written to it
//	switched    the guest writes to the overlay; the file below is frozen, and
//	            Base is how it looks from now on
//	merging     as before, but the overlay is being copied into the file below,
//	            which changes by that
//	stranded    QEMU has died in the middle; Base is how it left the file below
//	pivoting    the file below has everything, and is on disk; the guest's
//	            writes are held back, and will go there
//	unpivoted   it did not come to that: as merging
//	committing  as merging, by qemu-img, the VM being dead
//	merged      nothing is left to do but to remove the overlay
//
// "switched" may be missing after a crash, because it is written within the
// VM's pause without waiting for the disk. An overlay without content tells
// that it is as good as never used; with content that it was.
type step string

const (
	prepared   step = "prepared"
	switched   step = "switched"
	merging    step = "merging"
	stranded   step = "stranded"
	pivoting   step = "pivoting"
	unpivoted  step = "unpivoted"
	committing step = "committing"
	merged     step = "merged"
)

// entry is one line of a journal: first a plan, then steps.
type entry struct {
	Plan *plan     `json:"plan,omitempty"`
	Disk int       `json:"disk,omitempty"` // index in the plan
	Step step      `json:"step,omitempty"`
	Base *identity `json:"base,omitempty"`
}

// plan is what is going to be done, written before it is.
type plan struct {
	Format  int         `json:"format"`
	Machine string      `json:"machine"` // the member's name
	QMP     string      `json:"qmp"`     // the monitor's socket, which identifies the VM on this host
	Label   string      `json:"label"`
	Disks   []planEntry `json:"disks"`
}

type planEntry struct {
	ID         string   `json:"id"`
	Base       string   `json:"base"`
	BaseFormat string   `json:"base_format"`
	BaseNode   string   `json:"base_node"`
	Before     identity `json:"before"` // the base when this was written
	Overlay    string   `json:"overlay"`
	Node       string   `json:"node"` // the overlay's, also the name of its job
	Hold       bool     `json:"hold,omitempty"`
}

const planFormat = 1

// valid reports whether the plan can be acted upon.
func (p *plan) valid() bool {
	if p.Format != planFormat || p.QMP == "" || len(p.Disks) == 0 {
		return false
	}
	for _, d := range p.Disks {
		if d.Base == "" || d.Overlay == "" || d.Base == d.Overlay || d.Node == "" || d.BaseFormat == "" {
			return false
		}
	}
	return true
}

// progress is where one disk has got to.
type progress struct {
	step step
	base *identity // of switched or stranded
}

// apply takes one more step into account.
func (p *progress) apply(e entry) {
	switch e.Step {
	case unpivoted:
		p.step, p.base = merging, nil
	case switched, stranded:
		p.step, p.base = e.Step, e.Base
	default:
		p.step, p.base = e.Step, nil
	}
}
