package bpf

import "testing"

// TestTry holds that each way of attaching that this kernel has is found, and
// that our own namespace stays as it is.
func TestTry(t *testing.T) {
	needRoot(t)
	if err := TryRingBuffer(); err != nil {
		t.Errorf("ring buffer: %v", err)
	}
	for _, mode := range []Mode{TCX, Clsact} {
		if err := Try(mode); err != nil {
			t.Errorf("%s: %v", mode, err)
		}
	}
}
