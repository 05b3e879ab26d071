package node

import (
	"context"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/evidence"
)

// judge says what the members' traces prove. A cut whose traces cannot be read
// is an unproven one.
func judge(ctx context.Context, repo snapline.Repository, s snapline.Snapshot) *snapline.Verdict {
	report, err := evidence.ReadAll(ctx, repo, s)
	if err != nil {
		return &snapline.Verdict{State: snapline.Unproven, Text: "unproven: " + err.Error(), Reasons: []string{err.Error()}}
	}
	return report.Summary()
}
