package qmp

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// Takeover resets QEMU's parser, in case somebody died within a line
// (docs/interop/qmp-spec, "clearing the parser").
const Takeover = "\xff\n"

// takenOver is where the ids of a connection begin that was another's: answers
// to that one's commands must not be taken for answers to ours.
const takenOver = 1 << 40

// takeoverWait bounds the wait for the answer to Takeover, which comes from
// QEMU's main loop.
const takeoverWait = 10 * time.Second

// TakeOver goes on with the negotiated connection of a process that has died.
// It owns conn from then on. Version is unknown, and RunOOB not available.
func TakeOver(conn *net.UnixConn) (*Client, error) {
	c := newClient(conn, "of a dead process")
	c.lastID = takenOver
	in := bufio.NewReader(conn)
	if err := resynchronize(conn, in); err != nil {
		conn.Close()
		return nil, fmt.Errorf("take over QMP connection: %w", err)
	}
	go c.read(json.NewDecoder(in))
	return c, nil
}

// resynchronize skips what is left of the other's messages, the first of which
// it may have read in part: all lines up to the answer to the reset.
func resynchronize(conn *net.UnixConn, in *bufio.Reader) error {
	if err := conn.SetDeadline(time.Now().Add(takeoverWait)); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, Takeover); err != nil {
		return err
	}
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		if bytes.Contains(line, []byte("JSON parse error")) {
			return conn.SetDeadline(time.Time{})
		}
	}
}
