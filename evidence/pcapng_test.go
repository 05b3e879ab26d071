package evidence_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/snapline/snapline/evidence"
)

// anEcho is an ICMP echo request in an Ethernet frame.
const anEcho = "020000000002" + "020000000001" + "0800" +
	"4500001c00010000400166de0a0000010a000002" + "0800f7fe00010000"

func TestTsharkReadsPcapng(t *testing.T) {
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Fatal("tshark is not installed, run: make deps")
	}
	echo, err := hex.DecodeString(anEcho)
	if err != nil {
		t.Fatal(err)
	}
	frames := []evidence.Frame{
		{Member: "n1", At: 1_700_000_000_123_456_789, Data: echo, Length: len(echo), Comment: "n2 → n1, sent 1.2 ms before the cut"},
		{Member: "n2", At: 1_700_000_001_000_000_001, Data: echo[:33], Length: len(echo)},
		{Member: "n1", At: 1_700_000_002_000_000_000, Data: echo},
	}
	var b bytes.Buffer
	if err := evidence.WritePcapng(&b, frames); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "frames.pcapng")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(tshark, "-r", path, "-T", "fields", "-E", "separator=|",
		"-e", "frame.interface_name", "-e", "frame.time_epoch", "-e", "frame.len", "-e", "frame.cap_len", "-e", "frame.comment", "-e", "ip.src", "-e", "icmp.type")
	c.Env = append(os.Environ(), "HOME="+t.TempDir(), "LC_ALL=C.UTF-8")
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		t.Fatalf("tshark: %v\n%s", err, stderr.String())
	}
	want := []string{
		"n1|1700000000.123456789|42|42|n2 → n1, sent 1.2 ms before the cut|10.0.0.1|8",
		"n2|1700000001.000000001|42|33||10.0.0.1|",
		"n1|1700000002.000000000|42|42||10.0.0.1|8",
	}
	got := strings.Split(strings.TrimRight(string(out), "\n"), "\n")
	if len(got) != len(want) {
		t.Fatalf("tshark sees %d frames:\n%s", len(got), out)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("frame %d:\ngot  %s\nwant %s", i, got[i], want[i])
		}
	}
}

func TestEmptyPcapng(t *testing.T) {
	var b bytes.Buffer
	if err := evidence.WritePcapng(&b, nil); err != nil {
		t.Fatal(err)
	}
	if b.Len()%4 != 0 || !bytes.HasPrefix(b.Bytes(), []byte{0x0a, 0x0d, 0x0d, 0x0a}) {
		t.Errorf("% x", b.Bytes())
	}
}

type full struct{}

var errFull = errors.New("no space left")

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestPcapngReportsErrors(t *testing.T) {
	if err := evidence.WritePcapng(full{}, []evidence.Frame{{Member: "n1", Data: make([]byte, 10000)}}); !errors.Is(err, errFull) {
		t.Errorf("%v", err)
	}
	if err := evidence.WritePcapng(&bytes.Buffer{}, []evidence.Frame{{Member: "n1", At: -1}}); err == nil {
		t.Error("a time before 1970 was written")
	}
}

func TestPcapngComesBack(t *testing.T) {
	echo, err := hex.DecodeString(anEcho)
	if err != nil {
		t.Fatal(err)
	}
	want := []evidence.Frame{
		{Member: "n1", At: 1_700_000_000_123_456_789, ID: 1 << 60, Data: echo, Length: len(echo), Comment: "one"},
		{Member: "n2", At: 5, Data: echo[:33], Length: len(echo)},
		{Member: "n1", At: 6, ID: 7, Data: []byte{}},
	}
	var b bytes.Buffer
	if err := evidence.WritePcapng(&b, want); err != nil {
		t.Fatal(err)
	}
	got, err := evidence.ReadPcapng(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-written +read):\n%s", d)
	}
}

func FuzzReadPcapng(f *testing.F) {
	var b bytes.Buffer
	if err := evidence.WritePcapng(&b, []evidence.Frame{{Member: "n1", At: 5, ID: 6, Data: []byte("frame"), Length: 9, Comment: "x"}}); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add(b.Bytes()[:b.Len()-4])
	f.Fuzz(func(t *testing.T, b []byte) {
		frames, err := evidence.ReadPcapng(b)
		if err != nil && !errors.Is(err, evidence.ErrFormat) {
			t.Fatal(err)
		}
		for _, f := range frames {
			evidence.Delivery{Frame: f, Marked: true}.Bytes()
		}
	})
}
