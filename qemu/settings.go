package qemu

import (
	"context"

	"github.com/snapline/snapline/qemu/qmp"
)

// settings are a VM's migration settings, kept while a capture uses others.
type settings struct {
	client       *qmp.Client
	capabilities []qmp.Capability
	parameters   qmp.Parameters
}

const (
	capEvents     = "events"
	capBackground = "background-snapshot"
)

// unlimited is a bandwidth that no pipe reaches, in bytes per second. QEMU
// divides and multiplies it, so it stays well below 2^63.
var unlimited uint64 = 1 << 50

// readSettings remembers what is set now.
func readSettings(ctx context.Context, c *qmp.Client) (*settings, error) {
	capabilities, err := qmp.Run(ctx, c, qmp.QueryCapabilities{})
	if err != nil {
		return nil, err
	}
	parameters, err := qmp.Run(ctx, c, qmp.QueryParameters{})
	if err != nil {
		return nil, err
	}
	return &settings{c, capabilities, parameters}, nil
}

// apply switches to a plain stream at full speed, live or not. Whatever else
// was on (multifd, compression, …) is off meanwhile: it would change the
// stream's form or exclude background-snapshot.
func (s *settings) apply(ctx context.Context, background bool) error {
	var set []qmp.Capability
	for _, c := range s.capabilities {
		want := c.Name == capEvents || c.Name == capBackground && background
		if c.On != want {
			set = append(set, qmp.Capability{Name: c.Name, On: want})
		}
	}
	if len(set) > 0 {
		if _, err := qmp.Run(ctx, s.client, qmp.SetCapabilities{Capabilities: set}); err != nil {
			return err
		}
	}
	_, err := qmp.Run(ctx, s.client, qmp.SetParameters{Parameters: qmp.Parameters{MaxBandwidth: &unlimited}})
	return err
}

// restore puts back what readSettings has seen.
func (s *settings) restore(ctx context.Context) error {
	if _, err := qmp.Run(ctx, s.client, qmp.SetCapabilities{Capabilities: s.capabilities}); err != nil {
		return err
	}
	_, err := qmp.Run(ctx, s.client, qmp.SetParameters{Parameters: s.parameters})
	return err
}

// offers reports whether this QEMU knows the capability at all.
func (s *settings) offers(name string) bool {
	for _, c := range s.capabilities {
		if c.Name == name {
			return true
		}
	}
	return false
}
