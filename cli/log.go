package cli

import (
	"bufio"
	"fmt"
	"log/slog"
	"os"
	"sync"

	"github.com/spf13/pflag"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/protocol"
)

// logOptions are the logging flags of the long-running commands.
type logOptions struct {
	level string
	trace string
}

func (o *logOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&o.level, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&o.trace, "trace", "", "append every event and effect of the protocol to this file")
}

// open returns the log, the trace function (nil without --trace) and what
// closes them.
func (o *logOptions) open() (*slog.Logger, func(string, snapline.Instant, any), func(), error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(o.level)); err != nil {
		return nil, nil, nil, &snapline.Error{Code: snapline.CodeInvalid, Message: fmt.Sprintf("--log-level %s: use debug, info, warn or error", o.level)}
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	if o.trace == "" {
		return log, nil, func() {}, nil
	}
	f, err := os.OpenFile(o.trace, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, nil, nil, err
	}
	w := bufio.NewWriter(f)
	var mu sync.Mutex
	trace := func(who string, at snapline.Instant, what any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintln(w, protocol.Line(who, at, what))
		w.Flush()
	}
	return log, trace, func() { f.Close() }, nil
}
