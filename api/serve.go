package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// shutdownTimeout is how long requests under way may take once the server stops.
const shutdownTimeout = 3 * time.Second

// Serve serves svc on l as a Server does.
func Serve(ctx context.Context, l net.Listener, svc Service) error {
	return Server{Service: svc}.Serve(ctx, l)
}

// Serve answers requests on l until ctx ends, and closes l. Event streams end
// with ctx, other requests get a few seconds. It returns nil when ctx ended it.
func (s Server) Serve(ctx context.Context, l net.Listener) error {
	return s.ServeHandler(ctx, l, s.Handler())
}

func serve(ctx context.Context, l net.Listener, h http.Handler, log *slog.Logger) error {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	base, drop := context.WithCancel(context.WithoutCancel(ctx))
	defer drop()
	srv := &http.Server{
		Handler:           h,
		BaseContext:       func(net.Listener) context.Context { return base },
		ConnContext:       withPeer,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	// Streams would otherwise hold the shutdown up until its timeout. A request
	// that only asks has nothing to lose by it.
	srv.RegisterOnShutdown(drop)
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		if srv.Shutdown(limit) != nil {
			srv.Close()
		}
	})
	err := srv.Serve(l)
	if !stop() {
		<-stopped
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve http at %s: %w", l.Addr(), err)
}
