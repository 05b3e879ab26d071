package api

// Version says which program answers and which formats it speaks.
type Version struct {
	Version  string `json:"version" example:"0.1.0" doc:"Release, or (devel)."`
	Revision string `json:"revision,omitempty" doc:"Commit that it was built from; -dirty when the tree had changes."`
	Built    string `json:"built,omitempty" doc:"Time of that commit, RFC 3339."`
	Go       string `json:"go" example:"go1.26.0"`
	Platform string `json:"platform" example:"linux/amd64"`
	API      int    `json:"api" doc:"Major version of the HTTP API."`
	Format   int    `json:"snapshot_format" doc:"Format of the snapshot records that it writes."`
}

// Major is the version in the API's paths. A change that breaks a client makes
// a new one; new fields and paths do not.
const Major = 1
