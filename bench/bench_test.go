package main

import (
	"bytes"
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/snapline/snapline/repository/page"
	"github.com/snapline/snapline/repository/qevm"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		in   []float64
		want float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 4}, 4}, {[]float64{8, 1, 2, 4}, 3}} {
		if got := median(c.in, func(v float64) float64 { return v }); got != c.want {
			t.Errorf("median of %v: %v, want %v", c.in, got, c.want)
		}
	}
}

func TestParseStatus(t *testing.T) {
	m, err := parseStatus("Name:\tborg\nVmPeak:\t  9000 kB\nVmHWM:\t  2048 kB\nVmRSS:\t  1024 kB\nRssAnon:\t     512 kB\n")
	if err != nil || m != (memory{peakMiB: 2, anonMiB: 0.5}) {
		t.Errorf("%+v, %v", m, err)
	}
	for name, s := range map[string]string{
		"ended":     "Name:\tborg\nState:\tZ (zombie)\n",
		"no number": "VmHWM:\tmuch kB\nRssAnon:\t1 kB\n",
	} {
		if _, err := parseStatus(s); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestParseStat(t *testing.T) {
	got, err := parseStat("12 (a ) (b) S 1 12 12 0 -1 4194304 100 200 0 0 150 50 7 3 20 0 1 0 100\n")
	if err != nil || got != 2100*time.Millisecond {
		t.Errorf("%v, %v", got, err)
	}
	for _, s := range []string{"", "12 (qemu", "12 (qemu) S 1 2"} {
		if _, err := parseStat(s); err == nil {
			t.Errorf("%q: no error", s)
		}
	}
}

func TestCPUModel(t *testing.T) {
	if got := cpuModel("processor\t: 0\nmodel\t\t: 1\nmodel name\t: AMD EPYC\n"); got != "AMD EPYC" {
		t.Errorf("%q", got)
	}
}

// TestMeasured looks at a real process, one that holds memory and one that
// fails.
func TestMeasured(t *testing.T) {
	u, out, err := measured(exec.Command("sh", "-c", "v=$(head -c 8000000 /dev/zero | tr '\\0' x); sleep 0.1; echo ${#v}"))
	if err != nil || out != "8000000\n" || u.WallMS < 100 || u.AnonMiB < 7 || u.PeakMiB < u.AnonMiB {
		t.Errorf("%+v, %q, %v", u, out, err)
	}
	if _, _, err := measured(exec.Command("sh", "-c", "echo no space >&2; exit 3")); err == nil || !bytes.Contains([]byte(err.Error()), []byte("no space")) {
		t.Errorf("a program that fails: %v", err)
	}
}

// TestBest takes the form of the image that suits a program.
func TestBest(t *testing.T) {
	r := &repositoryResult{Ingest: []ingestSample{
		{Backup: "restic", Form: formStream, Version: versions[1], AddedMiB: 50},
		{Backup: "restic", Form: formRaw, Version: versions[1], AddedMiB: 30},
		{Backup: "restic", Form: formRaw, Version: versions[1], AddedMiB: 20},
		{Backup: "borg", Form: formRaw, Version: versions[1], AddedMiB: 1},
	}}
	if got := r.best("restic", 1, added); got != 25 {
		t.Errorf("%v", got)
	}
}

// counter is a sink that counts.
type counter struct{ pages, fills, bytes int64 }

func (c *counter) Head(h qevm.Head) error            { return nil }
func (c *counter) Page(int, int64, []byte) error     { c.pages++; return nil }
func (c *counter) Fill(_ int, _ int64, _ byte) error { c.fills++; return nil }
func (c *counter) Epilogue(r io.Reader) (err error) {
	c.bytes, err = io.Copy(io.Discard, r)
	return err
}

// TestGenerated reads the generated machine as the repository would.
func TestGenerated(t *testing.T) {
	var b bytes.Buffer
	const pages = 64 << 20 / page.Size
	if err := generated(&b, pages); err != nil {
		t.Fatal(err)
	}
	var c counter
	if _, err := qevm.Parse(&b, &c); err != nil {
		t.Fatal(err)
	}
	if c.pages != pages/2 || c.fills != pages/2 || c.bytes == 0 {
		t.Errorf("%+v", c)
	}
}

// TestReadAndWriteTo stores a machine and reads it in both ways: byte by byte as
// a hypervisor may, and in whole parts, also after a writer has failed once.
func TestReadAndWriteTo(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "repo")
	if err := initRepository(t.Context(), folder); err != nil {
		t.Fatal(err)
	}
	r, err := openRepository(t.Context(), folder)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var in bytes.Buffer
	if err := generated(&in, 64<<20/page.Size); err != nil {
		t.Fatal(err)
	}
	if err := putStream(t.Context(), r, "bench-1", &in); err != nil {
		t.Fatal(err)
	}
	o, err := stored(t.Context(), r, "bench-1")
	if err != nil {
		t.Fatal(err)
	}
	open := func() io.ReadCloser {
		s, err := r.Open(t.Context(), "bench-1", member, o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}
	want, err := io.ReadAll(open())
	if err != nil {
		t.Fatal(err)
	}
	s := open()
	got := &failingOnce{after: 10 << 20}
	if _, err := io.Copy(got, s); !errors.Is(err, errFull) {
		t.Errorf("a writer that fails: %v", err)
	}
	if _, err := io.Copy(got, s); err != nil {
		t.Error(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("%d bytes in parts, which are not the %d bytes that Read gives", got.Len(), len(want))
	}
}

var errFull = errors.New("full")

// failingOnce takes half of one write and fails, then goes on.
type failingOnce struct {
	bytes.Buffer
	after  int
	failed bool
}

func (f *failingOnce) Write(p []byte) (int, error) {
	if !f.failed && f.Len() >= f.after {
		f.failed = true
		n, _ := f.Buffer.Write(p[:len(p)/2])
		return n, errFull
	}
	return f.Buffer.Write(p)
}
