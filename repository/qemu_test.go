package repository

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/snapline/snapline"
)

// guest is a QEMU of 128 MiB whose firmware counts at address 0x500 and does
// nothing else.
type guest struct {
	dir  string
	conn net.Conn
	in   *bufio.Reader
	cmd  *exec.Cmd
}

const (
	guestMiB = 128
	dataAt   = 32 << 20
	dataSize = 24 << 20
)

// guestData is what is loaded into the guest's memory: pages of all kinds.
func guestData() []byte {
	b := make([]byte, dataSize)
	rnd := rand.NewChaCha8([32]byte{1})
	for at := 0; at < len(b); at += 4096 {
		p := b[at:][:4096]
		switch at / 4096 % 4 {
		case 0:
			_, _ = rnd.Read(p)
		case 1:
			_, _ = rnd.Read(p[:100])
		case 2: // zero
		case 3:
			for i := range p {
				p[i] = 0xee // QEMU does not look for these
			}
		}
	}
	return b
}

// firmware is 64 KiB that run at F000:0000 from the reset vector on.
func firmware() []byte {
	b := make([]byte, 64<<10)
	copy(b, []byte{
		0x31, 0xc0, // xor ax, ax
		0x8e, 0xd8, // mov ds, ax
		0x66, 0xff, 0x06, 0x00, 0x05, // inc dword [0x500]
		0xeb, 0xf9, // jmp the inc
	})
	copy(b[0xfff0:], []byte{0xea, 0x00, 0x00, 0x00, 0xf0}) // jmp f000:0000
	return b
}

func startGuest(t *testing.T, incoming io.Reader) *guest {
	t.Helper()
	if _, err := exec.LookPath("qemu-system-x86_64"); err != nil {
		t.Fatal("qemu-system-x86_64 is missing: make deps")
	}
	g := &guest{dir: t.TempDir()}
	bios, data, socket := filepath.Join(g.dir, "bios"), filepath.Join(g.dir, "data"), filepath.Join(g.dir, "qmp")
	if err := errors.Join(os.WriteFile(bios, firmware(), 0o600), os.WriteFile(data, guestData(), 0o600)); err != nil {
		t.Fatal(err)
	}
	g.cmd = exec.Command("qemu-system-x86_64", "-machine", "q35", "-accel", "tcg", "-m", strconv.Itoa(guestMiB),
		"-nodefaults", "-display", "none", "-bios", bios, "-qmp", "unix:"+socket+",server=on,wait=off",
		"-device", fmt.Sprintf("loader,file=%s,addr=%#x,force-raw=on", data, dataAt))
	var log bytes.Buffer
	g.cmd.Stdout, g.cmd.Stderr = &log, &log
	if incoming != nil {
		g.cmd.Args = append(g.cmd.Args, "-S", "-incoming", "fd:0")
		g.cmd.Stdin = incoming
	}
	if err := g.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		g.kill()
		if t.Failed() {
			t.Logf("QEMU printed: %s", log.String())
		}
	})
	eventually(t, "QMP socket", func() bool {
		c, err := net.Dial("unix", socket)
		g.conn = c
		return err == nil
	})
	g.in = bufio.NewReader(g.conn)
	if _, err := g.in.ReadBytes('\n'); err != nil { // the greeting
		t.Fatal(err)
	}
	g.do(t, "qmp_capabilities", nil)
	return g
}

func (g *guest) kill() {
	if g.conn != nil {
		g.conn.Close()
	}
	_ = g.cmd.Process.Kill()
	_ = g.cmd.Wait()
}

func (g *guest) do(t *testing.T, command string, args any) json.RawMessage {
	t.Helper()
	b, err := json.Marshal(map[string]any{"execute": command, "arguments": args})
	if args == nil {
		b, err = json.Marshal(map[string]any{"execute": command})
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.conn.Write(b); err != nil {
		t.Fatal(err)
	}
	for {
		line, err := g.in.ReadBytes('\n')
		if err != nil {
			t.Fatalf("%s: %v", command, err)
		}
		var m struct {
			Event  string
			Return json.RawMessage
			Error  *struct{ Desc string }
		}
		if err := json.Unmarshal(line, &m); err != nil {
			t.Fatal(err)
		}
		if m.Error != nil {
			t.Fatalf("%s: %s", command, m.Error.Desc)
		}
		if m.Event == "" {
			return m.Return
		}
	}
}

func (g *guest) status(t *testing.T, query string) string {
	t.Helper()
	var s struct{ Status string }
	if err := json.Unmarshal(g.do(t, query, nil), &s); err != nil {
		t.Fatal(err)
	}
	return s.Status
}

// counter reads what the firmware counts.
func (g *guest) counter(t *testing.T) uint64 {
	t.Helper()
	var s string
	if err := json.Unmarshal(g.do(t, "human-monitor-command", map[string]any{"command-line": "xp /1wx 0x500"}), &s); err != nil {
		t.Fatal(err)
	}
	_, hex, _ := strings.Cut(s, ": 0x")
	n, err := strconv.ParseUint(strings.TrimSpace(hex), 16, 32)
	if err != nil {
		t.Fatalf("%q: %v", s, err)
	}
	return n
}

// capture writes a migration stream to a file.
func (g *guest) capture(t *testing.T, background bool) string {
	t.Helper()
	if background {
		g.do(t, "migrate-set-capabilities", map[string]any{"capabilities": []any{map[string]any{"capability": "background-snapshot", "state": true}}})
	}
	path := filepath.Join(g.dir, "stream")
	g.do(t, "migrate", map[string]any{"uri": "exec:cat >" + path})
	eventually(t, "migration", func() bool {
		switch s := g.status(t, "query-migrate"); s {
		case "failed", "cancelled":
			t.Fatalf("the migration has %s", s)
		case "completed":
			return true
		}
		return false
	})
	return path
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(60 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("%s: not within 60 s", what)
		}
	}
}

// TestQEMU captures a guest, stores and reads the stream, and lets a new QEMU
// go on from it.
func TestQEMU(t *testing.T) {
	for name, background := range map[string]bool{"background-snapshot": true, "plain migration": false} {
		t.Run(name, func(t *testing.T) {
			g := startGuest(t, nil)
			eventually(t, "the guest counts", func() bool { return g.counter(t) > 1000 })
			before := g.counter(t)
			path := g.capture(t, background)
			after := g.counter(t)
			g.kill()

			r := create(t, nil)
			f, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			o, err := r.Put(t.Context(), id, "n1", f)
			if err != nil {
				t.Fatal(err)
			}
			if o.StoredBytes > 10<<20 {
				t.Errorf("6 MiB of random pages take %d bytes", o.StoredBytes)
			}
			t.Logf("%d bytes of stream, %d added", o.RawBytes, o.StoredBytes)
			if err := r.Verify(t.Context(), id, "n1", o); err != nil {
				t.Fatal(err)
			}
			restored(t, r, o, before, after)
			again(t, r, o)
		})
	}
}

// restored loads a stored stream and looks at the machine.
func restored(t *testing.T, r *Repository, o snapline.Object, before, after uint64) {
	t.Helper()
	s, err := r.Open(t.Context(), id, "n1", o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	g := startGuest(t, s)
	eventually(t, "incoming migration", func() bool { return g.status(t, "query-status") != "inmigrate" })
	if n := g.counter(t); n < before || n > after {
		t.Errorf("it counts from %d, it was captured between %d and %d", n, before, after)
	}
	g.do(t, "cont", nil) // a VM that was stopped by its own migration was "postmigrate"
	ram := filepath.Join(g.dir, "ram")
	g.do(t, "pmemsave", map[string]any{"val": dataAt, "size": dataSize, "filename": ram})
	if got, err := os.ReadFile(ram); err != nil || !bytes.Equal(got, guestData()) {
		t.Errorf("its memory is not what it was (%v)", err)
	}
	n := g.counter(t)
	eventually(t, "the guest counts on", func() bool { return g.counter(t) > n })
	g.kill()
	exported(t, r, o)
}

// exported compares the raw image of the memory.
func exported(t *testing.T, r *Repository, o snapline.Object) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "ram"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n, err := r.ExportRAM(t.Context(), id, "n1", o, f)
	if err != nil || n != guestMiB<<20 {
		t.Fatalf("exported %d bytes, %v", n, err)
	}
	b := make([]byte, dataSize)
	if _, err := f.ReadAt(b, dataAt); err != nil || !bytes.Equal(b, guestData()) {
		t.Errorf("the exported memory is another (%v)", err)
	}
}

// again stores what was read: it must cost next to nothing and be the same.
func again(t *testing.T, r *Repository, o snapline.Object) {
	t.Helper()
	first, err := readAll(t, r, id, o)
	if err != nil {
		t.Fatal(err)
	}
	o2, err := r.Put(t.Context(), "etcd-8", "n1", bytes.NewReader(first))
	if err != nil {
		t.Fatal(err)
	}
	if o2.StoredBytes > 2048 {
		t.Errorf("the same again takes %d bytes", o2.StoredBytes)
	}
	second, err := readAll(t, r, "etcd-8", o2)
	if err != nil || !bytes.Equal(first, second) {
		t.Errorf("the stream changes when it is stored again: %d and %d bytes, %v", len(first), len(second), err)
	}
}
