package nats

import (
	"fmt"
	"strings"

	"github.com/snapline/snapline"
)

const (
	msgPrefix = "snapline.msg."
	askPrefix = "snapline.ask."
)

// subject returns the NATS subject of an address. Only CheckName parts get
// through: NATS gives '*', '>' and blanks a meaning of their own.
func subject(prefix string, a snapline.Address) (string, error) {
	if err := checkDotted("address", string(a)); err != nil {
		return "", err
	}
	return prefix + string(a), nil
}

// checkDotted reports whether s is made of CheckName parts joined by dots.
func checkDotted(kind, s string) error {
	for part := range strings.SplitSeq(s, ".") {
		if err := snapline.CheckName(kind, part); err != nil {
			return fmt.Errorf("%s %q: %w", kind, s, err)
		}
	}
	return nil
}
