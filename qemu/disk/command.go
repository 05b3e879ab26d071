package disk

// returns ties the command that embeds it to its answer's type.
type returns[R any] struct{}

func (returns[R]) Returns(R) {}

type nothing struct{}

// queryBlock asks for what the guest sees as block devices.
type queryBlock struct{ returns[[]block] }

func (queryBlock) Command() string { return "query-block" }

type block struct {
	Device   string    `json:"device"` // may be empty
	QDev     string    `json:"qdev"`   // empty: nothing in the guest uses it
	Inserted *inserted `json:"inserted"`
}

type inserted struct {
	File      string `json:"file"` // path, URL or "json:{…}"
	Node      string `json:"node-name"`
	Driver    string `json:"drv"`
	ReadOnly  bool   `json:"ro"`
	Encrypted bool   `json:"encrypted"`
	Cache     cache  `json:"cache"`
	Image     struct {
		VirtualSize int64 `json:"virtual-size"`
	} `json:"image"`
}

type cache struct {
	Direct  bool `json:"direct"`
	NoFlush bool `json:"no-flush"`
}

// queryExports asks for what is served to others, over NBD for instance.
type queryExports struct{ returns[[]export] }

func (queryExports) Command() string { return "query-block-exports" }

type export struct {
	ID   string `json:"id"`
	Type string `json:"type"`
	Node string `json:"node-name"`
}

// queryJobs asks for all background jobs.
type queryJobs struct{ returns[[]job] }

func (queryJobs) Command() string { return "query-jobs" }

type job struct {
	ID     string `json:"id"`
	Type   string `json:"type"`
	Status string `json:"status"` // created, running, ready, waiting, pending, aborting, concluded, …
	Error  string `json:"error,omitempty"`
	Done   int64  `json:"current-progress"`
	Total  int64  `json:"total-progress"`
}

// blockdevAdd opens a qcow2 file as a node of its own, without its backing file.
type blockdevAdd struct {
	returns[nothing]
	Driver  string        `json:"driver"`
	Node    string        `json:"node-name"`
	Discard string        `json:"discard"`
	Cache   cache         `json:"cache"`
	Backing *string       `json:"backing"` // null: none yet
	File    blockdevChild `json:"file"`
}

type blockdevChild struct {
	Driver   string `json:"driver"`
	Filename string `json:"filename"`
	Discard  string `json:"discard"`
	Cache    cache  `json:"cache"`
}

func (blockdevAdd) Command() string { return "blockdev-add" }

type blockdevDel struct {
	returns[nothing]
	Node string `json:"node-name"`
}

func (blockdevDel) Command() string { return "blockdev-del" }

// transaction does all of its actions or none.
type transaction struct {
	returns[nothing]
	Actions []action `json:"actions"`
}

func (transaction) Command() string { return "transaction" }

type action struct {
	Type string         `json:"type"` // blockdev-snapshot
	Data snapshotAction `json:"data"`
}

type snapshotAction struct {
	Node    string `json:"node"`
	Overlay string `json:"overlay"`
}

// blockCommit copies an active node into its backing file.
type blockCommit struct {
	returns[nothing]
	Job          string `json:"job-id"`
	Device       string `json:"device"` // the active node
	Base         string `json:"base-node"`
	OnError      string `json:"on-error"`
	Speed        int64  `json:"speed,omitempty"` // bytes per second; 0: no limit
	AutoFinalize bool   `json:"auto-finalize"`
	AutoDismiss  bool   `json:"auto-dismiss"`
}

func (blockCommit) Command() string { return "block-commit" }

type jobComplete struct {
	returns[nothing]
	ID string `json:"id"`
}

func (jobComplete) Command() string { return "job-complete" }

type jobFinalize struct {
	returns[nothing]
	ID string `json:"id"`
}

func (jobFinalize) Command() string { return "job-finalize" }

type jobDismiss struct {
	returns[nothing]
	ID string `json:"id"`
}

func (jobDismiss) Command() string { return "job-dismiss" }

// blockJobCancel ends a job; forced, without a last synchronisation.
type blockJobCancel struct {
	returns[nothing]
	ID    string `json:"device"`
	Force bool   `json:"force"`
}

func (blockJobCancel) Command() string { return "block-job-cancel" }

type jobStatusChange struct {
	ID     string `json:"id"`
	Status string `json:"status"`
}
