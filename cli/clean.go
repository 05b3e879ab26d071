package cli

import (
	"strings"
	"unicode"
)

// clean makes text fit for a terminal. Much of what is printed was written by a
// host, which may be in foreign hands: a control character could hide a line, or
// type one.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || !unicode.IsControl(r) && !unicode.Is(unicode.Bidi_Control, r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}
