package node

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/snapline/snapline"
)

// answer tells the coordinator how members on this host are, or the host itself.
func (a *Agent) answer(ctx context.Context, from snapline.Address, question []byte) []byte {
	var q inspection
	var f findings
	if from != snapline.ToCoordinator {
		a.Log.Warn("question ignored: it does not come from the coordinator", "from", from)
	} else if err := json.Unmarshal(question, &q); err == nil {
		switch {
		case q.Doctor != nil:
			f.Doctor, f.Now = a.examine(ctx, *q.Doctor)
		case q.Path != nil:
			f.Path = a.path(ctx, *q.Path)
		case q.Peers != nil:
			r := a.peers.latest(q.Peers.Group, a.Clock.Now().Add(-time.Duration(q.Peers.AgeNS)))
			f.Peers = &r
		case q.Near != nil:
			f.Near = a.near(ctx, *q.Near)
		default:
			for _, m := range q.Members {
				f.Members = append(f.Members, a.inspect(ctx, q.Group, m))
			}
		}
	}
	b, err := json.Marshal(f)
	if err != nil {
		a.Log.Error("encode findings", "error", err)
	}
	return b
}

// vmGone is the status of a member that no process is.
const vmGone = "gone"

// inspect looks at one member. A VM that no round holds is adopted for a moment
// and let go.
func (a *Agent) inspect(ctx context.Context, g snapline.GroupName, m snapline.Member) snapline.MemberStatus {
	s := snapline.MemberStatus{Name: m.Name, Host: a.Host, Agent: "online"}
	a.mu.Lock()
	runner := a.members[memberKey{g, m.Name}]
	a.mu.Unlock()
	var vm snapline.VM
	if runner != nil {
		vm = runner.held()
	}
	if vm == nil {
		adopted, err := a.Hypervisor.Adopt(ctx, m)
		if err != nil {
			s.VM, s.Text = "unreachable", err.Error()
			if errors.Is(err, snapline.ErrNoVM) {
				s.VM = vmGone
			}
			return s
		}
		defer adopted.Close()
		vm = adopted
	}
	var err error
	if s.VM, err = vm.Status(ctx); err != nil {
		s.VM, s.Text = "unknown", err.Error()
	}
	return s
}
