package node

import (
	"fmt"

	"github.com/snapline/snapline"
)

// replayable says why the packets in transit cannot be delivered as asked. An
// incomplete channel is refused here, before anything is touched, and not warned
// of afterwards: who asks for it does so because nobody sends these packets again.
func replayable(s snapline.Snapshot, how snapline.Replay) error {
	var channel *snapline.Channel
	if s.Verdict != nil {
		channel = s.Verdict.Channel
	}
	switch {
	case how == snapline.ReplayNothing:
		return nil
	case how != snapline.ReplayComplete && how != snapline.ReplayKnown:
		return &snapline.Error{Code: snapline.CodeInvalid, Message: fmt.Sprintf("replay of the channel %q: there are %q and %q", how, snapline.ReplayComplete, snapline.ReplayKnown)}
	case channel == nil:
		return &snapline.Error{Code: snapline.CodeRefused, Message: fmt.Sprintf("of %s no packets in transit were recorded; nothing was touched", s.ID),
			Hint: "restore it without them, or restore another one: a cut by barrier has no gates that could record"}
	case how == snapline.ReplayComplete && !channel.Complete:
		e := &snapline.Error{Code: snapline.CodeRefused, Message: fmt.Sprintf("the packets in transit of %s are not all known, and some would stay lost; nothing was touched", s.ID),
			Hint: "restore a snapshot whose channel is complete (snapline show), or deliver what is known with --replay-channel=known"}
		for _, why := range channel.Reasons {
			e.Reasons = append(e.Reasons, snapline.Reason{Text: why})
		}
		return e
	}
	return nil
}
