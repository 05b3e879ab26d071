package tcpsim

import (
	"context"

	"gvisor.dev/gvisor/pkg/state"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/waiter"
)

// conn is one end of a connection, and what its application has written to it
// and got from it since it was opened.
type conn struct {
	peer       int
	endpoint   tcpip.Endpoint
	queue      *waiter.Queue
	wrote, got []byte
}

// image is what is saved of a stack: itself, and the ends of its connections.
type image struct {
	stack     *stack.Stack
	endpoints []tcpip.Endpoint
	queues    []*waiter.Queue
}

func (i *image) StateTypeName() string { return "snapline/tcpsim.image" }
func (i *image) StateFields() []string { return []string{"stack", "endpoints", "queues"} }

func (i *image) StateSave(to state.Sink) {
	to.Save(0, &i.stack)
	to.Save(1, &i.endpoints)
	to.Save(2, &i.queues)
}

func (i *image) StateLoad(_ context.Context, from state.Source) {
	from.Load(0, &i.stack)
	from.Load(1, &i.endpoints)
	from.Load(2, &i.queues)
}

func init() { state.Register((*image)(nil)) }
