package qmp

import (
	"context"
	"encoding/json"
	"fmt"

	"golang.org/x/sys/unix"
)

// Command is a QMP command whose answer is an R. The value's JSON form is the
// command's arguments.
type Command[R any] interface {
	// Command is the name on the wire.
	Command() string
	// Returns ties the command to its answer's type; it is never called.
	Returns(R)
}

// noFD stands for no file descriptor.
const noFD = -1

// Nothing is the answer of commands that only succeed or fail.
type Nothing struct{}

// Run executes cmd and waits for the answer. The error is a *Error when QEMU
// refused, the context's cause, or why the connection died. After a context's
// end the command may still be executed.
func Run[R any](ctx context.Context, c *Client, cmd Command[R]) (R, error) {
	return run[R](ctx, c, cmd, noFD, false)
}

// RunOOB is Run ahead of the queue of other commands, also while QEMU's main
// loop is busy; only few commands allow it.
func RunOOB[R any](ctx context.Context, c *Client, cmd Command[R]) (R, error) {
	if !c.oob {
		var none R
		return none, fmt.Errorf("%s: QEMU %s offers no out-of-band execution", cmd.Command(), c.version)
	}
	return run[R](ctx, c, cmd, noFD, true)
}

// RunWithFD is Run with a file descriptor beside the command (SCM_RIGHTS).
// QEMU gets a duplicate; fd stays the caller's.
func RunWithFD[R any](ctx context.Context, c *Client, cmd Command[R], fd int) (R, error) {
	return run[R](ctx, c, cmd, fd, false)
}

func run[R any](ctx context.Context, c *Client, cmd Command[R], fd int, oob bool) (R, error) {
	var result R
	m, err := c.roundTrip(ctx, cmd.Command(), cmd, fd, oob)
	if err != nil {
		return result, err
	}
	if m.Error != nil {
		m.Error.Command = cmd.Command()
		return result, m.Error
	}
	if err := json.Unmarshal(m.Return, &result); err != nil {
		return result, fmt.Errorf("answer to %s: %w", cmd.Command(), err)
	}
	return result, nil
}

// roundTrip sends one command and waits for the answer with its id.
func (c *Client) roundTrip(ctx context.Context, name string, args any, fd int, oob bool) (message, error) {
	reply := make(chan message, 1)
	c.mu.Lock()
	if c.err != nil {
		defer c.mu.Unlock()
		return message{}, c.err
	}
	c.lastID++
	id := c.lastID
	c.pending[id] = reply
	c.mu.Unlock()
	defer c.forget(id)

	line, err := encode(id, name, oob, args)
	if err != nil {
		return message{}, err
	}
	if err := c.send(line, fd); err != nil {
		c.fail(fmt.Errorf("QMP socket %s: %w", c.path, err))
	}
	select {
	case m := <-reply:
		return m, nil
	case <-ctx.Done():
		return message{}, fmt.Errorf("%s: %w", name, context.Cause(ctx))
	case <-c.done:
		select {
		case m := <-reply: // came just before the end
			return m, nil
		default:
			return message{}, fmt.Errorf("%s: %w", name, c.Err())
		}
	}
}

func (c *Client) forget(id uint64) {
	c.mu.Lock()
	delete(c.pending, id)
	c.mu.Unlock()
}

func (c *Client) send(line []byte, fd int) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if fd == noFD {
		_, err := c.conn.Write(line)
		return err
	}
	_, _, err := c.conn.WriteMsgUnix(line, unix.UnixRights(fd), nil)
	return err
}
