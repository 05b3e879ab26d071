package topology

// Unplug pulls a host's cable to the switch: nothing passes between it and the
// others. Its machines on its own bridge still reach each other.
func (n Namespace) Unplug() error { return n.Do(func() error { return down(uplink) }) }

// Plug puts the cable back.
func (n Namespace) Plug() error { return n.Do(func() error { return up(uplink) }) }
