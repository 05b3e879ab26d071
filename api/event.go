package api

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
)

// maxEvent bounds one line of an event stream, in bytes.
const maxEvent = 1 << 20

// event is one server-sent event. Its id is not kept: a step carries its own.
type event struct {
	name string
	data []byte
}

// eventReader reads server-sent events (WHATWG HTML, section 9.2.6) whose lines
// end in LF or CRLF; a lone CR, which nobody sends, is not taken for an end.
type eventReader struct {
	lines *bufio.Scanner
}

// newEventReader calls alive for every line that arrives, comments too.
func newEventReader(r io.Reader, alive func()) *eventReader {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 4096), maxEvent)
	s.Split(func(data []byte, atEOF bool) (int, []byte, error) {
		// A last line without its end is not a line: what was cut off in the
		// middle must not be taken for whole.
		i := bytes.IndexByte(data, '\n')
		if i < 0 {
			return 0, nil, nil
		}
		alive()
		return i + 1, bytes.TrimSuffix(data[:i], []byte{'\r'}), nil
	})
	return &eventReader{lines: s}
}

// next returns the next event that has data. io.ErrUnexpectedEOF says that the
// stream ended; an event that was not finished with an empty line is dropped.
func (r *eventReader) next() (event, error) {
	var e event
	for r.lines.Scan() {
		line := r.lines.Bytes()
		if len(line) == 0 {
			if len(e.data) > 0 {
				e.data = e.data[:len(e.data)-1] // the last line's newline
				return e, nil
			}
			e = event{}
			continue
		}
		field, value, _ := bytes.Cut(line, []byte{':'})
		value = bytes.TrimPrefix(value, []byte{' '})
		switch string(field) {
		case "event":
			e.name = string(value)
		case "data":
			if len(e.data)+len(value) > maxEvent {
				return event{}, fmt.Errorf("event of more than %d bytes", maxEvent)
			}
			e.data = append(append(e.data, value...), '\n')
		}
	}
	if err := r.lines.Err(); err != nil {
		return event{}, err
	}
	return event{}, io.ErrUnexpectedEOF
}
