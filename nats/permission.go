package nats

import (
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/snapline/snapline"
)

// answerWithin is how long an answer to a question may be sent.
const answerWithin = 5 * time.Minute

// permissions are what somebody may do on the server. Everybody speaks as
// themselves only, since a subject begins with its speaker. A coordinator may
// do everything; an agent speaks to coordinators, hears what is sent to it, and
// answers; a host that joins may ask to be admitted. No one else may do anything.
func permissions(as snapline.Address) (*server.Permissions, bool) {
	me := speaker(as)
	may := func(publish, subscribe []string) (*server.Permissions, bool) {
		return &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: publish},
			Subscribe: &server.SubjectPermission{Allow: append(subscribe, inboxPrefix+me+".>")},
		}, true
	}
	if as == snapline.ToCoordinator {
		return nil, true
	}
	if _, ok := as.Host(); ok {
		p, _ := may([]string{msgPrefix + me + ".coordinator", msgPrefix + me + ".coordinator.>", askPrefix + me + ".coordinator", askPrefix + me + ".coordinator.>"},
			[]string{msgPrefix + "*." + string(as), askPrefix + "*." + string(as)})
		p.Response = &server.ResponsePermission{MaxMsgs: 1, Expires: answerWithin}
		return p, true
	}
	if id, ok := strings.CutPrefix(string(as), "token."); ok && snapline.CheckName("token", id) == nil {
		return may([]string{askPrefix + me + ".coordinator.enrol"}, nil)
	}
	return nil, false
}
