package bustest

import (
	"context"
	"fmt"
	"strings"

	"github.com/snapline/snapline"
)

// check refuses what a real bus would refuse: an ended context, and an address
// that is not made of CheckName parts.
func check(ctx context.Context, a snapline.Address) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: %w", a, err)
	}
	return checkDotted("address", string(a))
}

func checkDotted(kind, s string) error {
	for part := range strings.SplitSeq(s, ".") {
		if err := snapline.CheckName(kind, part); err != nil {
			return fmt.Errorf("%s %q: %w", kind, s, err)
		}
	}
	return nil
}
