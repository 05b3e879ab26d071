// Package doctor exists so that a host that will let a snapshot down says so
// before it does. Each check tries the thing itself, and looks at versions only
// to explain what has failed. It judges; what it asks a host with is a System.
package doctor

import (
	"context"
	"fmt"
	"sync"

	"github.com/snapline/snapline"
)

// Options say what the host is to be used for.
type Options struct {
	// Data is the agent's directory, "" for none yet; what is looked at is the
	// space in the nearest one that exists.
	Data string
	// Gentle says that captures are to be stored gently.
	Gentle bool
}

// check makes findings of one kind, by its name.
type check struct {
	name string
	run  func(context.Context, System, Options) []snapline.Finding
}

// checks are all of them, in the order of a report.
var checks = [...]check{
	{"user", user}, {"kernel", kernel}, {"ring-buffer", ringBuffer}, {"gate", gate},
	{"userfaultfd", userfaultfd}, {"qemu", hypervisor}, {"bridges", bridges},
	{"clock", clock}, {"space", space}, {"pressure", pressure},
}

// Examine looks at everything and touches nothing: what it attaches and starts is
// its own, and gone when it returns. It takes some seconds, most of them QEMU's.
// The findings come in the order of the checks; there is at least one of each.
func Examine(ctx context.Context, s System, o Options) []snapline.Finding {
	found := make([][]snapline.Finding, len(checks))
	var all sync.WaitGroup
	for i, c := range checks {
		all.Go(func() {
			found[i] = c.run(ctx, s, o)
			for j := range found[i] {
				found[i][j].Check = c.name
			}
		})
	}
	all.Wait()
	var out []snapline.Finding
	for _, some := range found {
		out = append(out, some...)
	}
	return out
}

func ok(format string, args ...any) []snapline.Finding {
	return []snapline.Finding{{State: snapline.FindingOK, Text: fmt.Sprintf(format, args...)}}
}

func warning(hint, format string, args ...any) []snapline.Finding {
	return []snapline.Finding{{State: snapline.FindingWarning, Text: fmt.Sprintf(format, args...), Hint: hint}}
}

func problem(hint, format string, args ...any) []snapline.Finding {
	return []snapline.Finding{{State: snapline.FindingProblem, Text: fmt.Sprintf(format, args...), Hint: hint}}
}
