package api

import (
	"fmt"

	"github.com/snapline/snapline"
)

// checkApply looks at a declaration that was sent to a group's path.
func checkApply(path snapline.GroupName, g snapline.Group) error {
	reasons := g.Problems()
	if path != g.Name {
		reasons = append(reasons, snapline.Reason{Text: fmt.Sprintf("the path names group %q, the body %q", path, g.Name)})
	}
	if len(reasons) == 0 {
		return nil
	}
	return &snapline.Error{Code: snapline.CodeInvalid, Message: fmt.Sprintf("group %q is not valid", g.Name), Reasons: reasons}
}
