package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/snapline/snapline/lab/image"
)

// Accel is how QEMU runs a guest's processors.
type Accel string

const (
	KVM Accel = "kvm"
	TCG Accel = "tcg" // emulation
)

func (a Accel) option() string {
	if a == TCG {
		return "tcg,thread=multi"
	}
	return string(a)
}

// cpu is the model. Emulated ones get rdrand, so that the guest's random
// generator is ready at once (CONFIG_RANDOM_TRUST_CPU).
func (a Accel) cpu() string {
	if a == TCG {
		return "qemu64,+rdrand"
	}
	return "host"
}

// probeTime is how long a guest kernel may take to its first word under KVM,
// which is some 0.1 s where KVM works.
const probeTime = 5 * time.Second

// chooseAccel returns what guests run on here: SNAPLINE_ACCEL if set, or KVM if
// a guest kernel has been seen to run on it. That /dev/kvm opens proves
// nothing. The result is kept in the image cache until the next boot.
func chooseAccel(ctx context.Context, img image.Image) (Accel, error) {
	switch env := Accel(os.Getenv("SNAPLINE_ACCEL")); env {
	case KVM, TCG:
		return env, nil
	case "":
	default:
		return "", fmt.Errorf("SNAPLINE_ACCEL=%s: use kvm or tcg", env)
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", err
	}
	type note struct {
		Boot  string
		Accel Accel
	}
	path := filepath.Join(filepath.Dir(img.Kernel), "accel.json")
	var n note
	if data, err := os.ReadFile(path); err == nil && json.Unmarshal(data, &n) == nil && n.Boot == string(boot) {
		return n.Accel, nil
	}
	n = note{string(boot), TCG}
	if err := probeKVM(ctx, img); err == nil {
		n.Accel = KVM
	} else if ctx.Err() != nil {
		return "", err
	}
	data, err := json.Marshal(n)
	if err != nil {
		return "", err
	}
	// A probe that cannot be noted down is done again next time.
	_ = os.WriteFile(path, data, 0o644)
	return n.Accel, nil
}

// probeKVM boots the guest's kernel until it says something.
func probeKVM(ctx context.Context, img image.Image) error {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", "-machine", "q35", "-accel", string(KVM), "-cpu", KVM.cpu(),
		"-m", "256", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-kernel", img.Kernel, "-append", "console=ttyS0 earlyprintk=ttyS0 panic=-1", "-serial", "stdio")
	heard := &listener{word: []byte("Linux version"), found: cancel}
	cmd.Stdout = heard
	err := cmd.Run()
	if heard.done() {
		return nil
	}
	return errors.Join(err, errors.New("the guest kernel said nothing under KVM"))
}

// listener calls found when word has been written to it.
type listener struct {
	mu    sync.Mutex
	word  []byte
	found func()
	buf   []byte
	hit   bool
}

func (l *listener) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf = append(l.buf, p...)
	if !l.hit && bytes.Contains(l.buf, l.word) {
		l.hit = true
		l.found()
	}
	return len(p), nil
}

func (l *listener) done() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.hit
}
