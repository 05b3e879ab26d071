// Package diagram writes a snapshot's space-time diagram as one HTML page, which
// works without a server and without a network. The page is built from /web.
package diagram

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"strings"

	"github.com/snapline/snapline/evidence"
)

// page is what make generate has built, with a placeholder for each thing that
// Write fills in.
//
//go:embed page.html
var page string

// Write writes the page that shows the diagram. Nothing in the diagram or in the
// title can become a part of the page's markup or code.
func Write(w io.Writer, d *evidence.Diagram, title string) error {
	data, err := json.Marshal(d) // which writes < as \u003c, so that no string ends the element
	if err != nil {
		return fmt.Errorf("space-time diagram: %w", err)
	}
	r := strings.NewReplacer("@TITLE@", html.EscapeString(title), "@VERDICT@", html.EscapeString(d.Verdict), "@DATA@", string(data))
	if _, err := r.WriteString(w, page); err != nil {
		return fmt.Errorf("space-time diagram: %w", err)
	}
	return nil
}
