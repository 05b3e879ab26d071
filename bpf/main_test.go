package bpf

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv(holderEnv) != "" {
		holdGate() // this process is the agent that a test is going to kill
	}
	if os.Getenv(fenceHolderEnv) != "" {
		holdFence()
	}
	goleak.VerifyTestMain(m)
}
