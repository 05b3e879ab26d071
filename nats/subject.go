package nats

import (
	"fmt"
	"strings"

	"github.com/snapline/snapline"
)

// A subject is KIND.FROM.TO. Who speaks comes first and is one token, so that a
// server's permissions can hold everybody to it: "snapline.msg.agent_h1.coordinator".
const (
	msgPrefix   = "snapline.msg."
	askPrefix   = "snapline.ask."
	inboxPrefix = "_INBOX."
	anybody     = "*"
)

// speaker is an address as one token. Names have no '_'.
func speaker(a snapline.Address) string { return strings.ReplaceAll(string(a), ".", "_") }

// subject returns the NATS subject of messages from a speaker to an address.
// Only CheckName parts get through: NATS gives '*', '>' and blanks a meaning of
// their own.
func subject(prefix, from string, to snapline.Address) (string, error) {
	if err := checkDotted("address", string(to)); err != nil {
		return "", err
	}
	return prefix + from + "." + string(to), nil
}

// sender is the address that speaks in a subject.
func sender(subject string) snapline.Address {
	parts := strings.SplitN(subject, ".", 4)
	if len(parts) < 4 {
		return ""
	}
	return snapline.Address(strings.ReplaceAll(parts[2], "_", "."))
}

// ownInbox reports whether the answer to a question goes to who has asked it. The
// server looks at what a client publishes, not at where it wants the answer; and
// who answers may publish where who asks may not.
func ownInbox(subject, reply string) bool {
	parts := strings.SplitN(subject, ".", 4)
	return len(parts) == 4 && strings.HasPrefix(reply, inboxPrefix+parts[2]+".")
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
