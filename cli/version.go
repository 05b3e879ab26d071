package cli

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/api"
)

// version is set when a release is linked:
// -ldflags "-X github.com/snapline/snapline/cli.version=1.2.3".
var version string

// Version is the release that this program is, or (devel).
func Version() string { return BuildVersion().Version }

// BuildVersion says what this program was built from and which formats it
// speaks.
func BuildVersion() api.Version {
	v := api.Version{Version: version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
		API: api.Major, Format: snapline.SnapshotFormat}
	info, ok := debug.ReadBuildInfo()
	if ok && v.Version == "" {
		v.Version = info.Main.Version
	}
	if v.Version == "" {
		v.Version = "(devel)"
	}
	if !ok {
		return v
	}
	dirty := false
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Revision = s.Value
		case "vcs.time":
			v.Built = s.Value
		case "vcs.modified":
			dirty = s.Value == "true"
		}
	}
	if dirty && v.Revision != "" {
		v.Revision += "-dirty"
	}
	return v
}

func versionCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version and the formats that it speaks",
		Example: `  snapline version
  snapline version --json`,
		Args:              exactly(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(*cobra.Command, []string) error { return runVersion(e.printer(), BuildVersion()) },
	}
}

func runVersion(p printer, v api.Version) error {
	return p.result(v, func() error {
		built := ""
		if v.Revision != "" {
			built = " (" + v.Revision[:min(12, len(v.Revision))] + ", " + v.Built + ")"
		}
		return p.line("snapline %s%s\n%s %s, API %d, snapshot format %d", v.Version, built, v.Go, v.Platform, v.API, v.Format)
	})
}
