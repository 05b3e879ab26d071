package qemu

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/snapline/snapline/qemu/qmp"
)

// askTime bounds a QEMU that only prints a list.
const askTime = 10 * time.Second

// ask runs QEMU for what it prints about itself.
func ask(ctx context.Context, program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, args...).Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", program, strings.Join(args, " "), err)
	}
	return string(out), nil
}

// lists reports whether one of the first two words of a line is the name: the
// lists of machine types, CPU models and accelerators differ in what comes
// before it.
func lists(text, name string) bool {
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if slices.Contains(words[:min(2, len(words))], name) {
			return true
		}
	}
	return false
}

var versionRE = regexp.MustCompile(`version (\d+)\.(\d+)\.(\d+)`)

// programVersion reads "QEMU emulator version 7.2.22 (Debian …)".
func programVersion(ctx context.Context, program string) (qmp.Version, error) {
	text, err := ask(ctx, program, "--version")
	if err != nil {
		return qmp.Version{}, err
	}
	m := versionRE.FindStringSubmatch(text)
	if m == nil {
		return qmp.Version{}, fmt.Errorf("%s --version: no version in %.60q", program, text)
	}
	return parseVersion(strings.Join(m[1:], "."))
}

// parseVersion reads "7.2.22".
func parseVersion(s string) (qmp.Version, error) {
	var v qmp.Version
	parts := strings.SplitN(s, ".", 3)
	for i, into := range []*int{&v.Major, &v.Minor, &v.Micro} {
		if i == len(parts) {
			return v, fmt.Errorf("version %q: want three numbers", s)
		}
		n, err := strconv.Atoi(parts[i])
		if err != nil {
			return v, fmt.Errorf("version %q: %w", s, err)
		}
		*into = n
	}
	return v, nil
}
