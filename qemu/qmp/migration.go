package qmp

// SetCapabilities switches migration capabilities.
type SetCapabilities struct {
	returns[Nothing]
	Capabilities []Capability `json:"capabilities"`
}

func (SetCapabilities) Command() string { return "migrate-set-capabilities" }

// Capability is one migration capability and whether it is on.
type Capability struct {
	Name string `json:"capability"`
	On   bool   `json:"state"`
}

// QueryCapabilities asks for all of them.
type QueryCapabilities struct{ returns[[]Capability] }

func (QueryCapabilities) Command() string { return "query-migrate-capabilities" }

// SetParameters changes the migration parameters that are not nil.
type SetParameters struct {
	returns[Nothing]
	Parameters
}

func (SetParameters) Command() string { return "migrate-set-parameters" }

// QueryParameters asks for the migration parameters.
type QueryParameters struct{ returns[Parameters] }

func (QueryParameters) Command() string { return "query-migrate-parameters" }

// Parameters are the migration parameters that a capture depends on.
type Parameters struct {
	// MaxBandwidth is in bytes per second.
	MaxBandwidth *uint64 `json:"max-bandwidth,omitempty"`
	// AnnounceRounds is how often addresses are announced after an incoming
	// migration.
	AnnounceRounds *int64 `json:"announce-rounds,omitempty"`
}

// Migrate starts an outgoing migration and returns at once.
type Migrate struct {
	returns[Nothing]
	URI string `json:"uri"`
}

func (Migrate) Command() string { return "migrate" }

// MigrateIncoming starts the incoming migration of a QEMU that was started
// with -incoming defer, and returns at once.
type MigrateIncoming struct {
	returns[Nothing]
	URI string `json:"uri"`
}

func (MigrateIncoming) Command() string { return "migrate-incoming" }

// MigrateCancel asks the running migration, if any, to end.
type MigrateCancel struct{ returns[Nothing] }

func (MigrateCancel) Command() string { return "migrate_cancel" }

// QueryMigrate asks how the migration goes.
type QueryMigrate struct{ returns[Migration] }

func (QueryMigrate) Command() string { return "query-migrate" }

// Migration is the last migration's state.
type Migration struct {
	Status  string     `json:"status"` // empty: there was none
	Error   string     `json:"error-desc"`
	Blocked []string   `json:"blocked-reasons"`
	RAM     *RAMStatus `json:"ram"`
}

// Under reports whether the migration has begun and not ended.
func (m Migration) Under() bool {
	switch m.Status {
	case "", "none", "completed", "failed", "cancelled":
		return false
	}
	return true
}

// RAMStatus counts what was sent.
type RAMStatus struct {
	Transferred int64 `json:"transferred"` // bytes
	Normal      int64 `json:"normal"`      // pages sent whole
	Duplicate   int64 `json:"duplicate"`   // pages of one byte's repetition
}

// MigrationStatus is the data of the MIGRATION event.
type MigrationStatus struct {
	Status string `json:"status"`
}
