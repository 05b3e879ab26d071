package image

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// The archive is one that cpio reads, folders before what is in them.
func TestArchive(t *testing.T) {
	entries := withParents([]entry{file("bin/b", 0o755, []byte("12345")), symlink("bin/a", "b"), file("x", 0o644, nil)})
	var archive bytes.Buffer
	if err := writeArchive(&archive, entries); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("cpio", "--quiet", "-itv", "--numeric-uid-gid")
	cmd.Stdin = bytes.NewReader(archive.Bytes())
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("cpio: %v (make deps installs it)", err)
	}
	var got []string
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		got = append(got, f[0]+" "+f[4]+" "+strings.Join(f[8:], " "))
	}
	want := "drwxr-xr-x 0 bin|lrwxrwxrwx 1 bin/a -> b|-rwxr-xr-x 5 bin/b|-rw-r--r-- 0 x"
	if strings.Join(got, "|") != want {
		t.Errorf("cpio lists\n%s\nwant\n%s", strings.Join(got, "|"), want)
	}
}

func TestAppend(t *testing.T) {
	g := Guest{Role: Etcd, Name: "n1", Address: "10.77.0.11/24", Token: "demo-1", Election: 5 * time.Second,
		Peers: []Peer{{"n1", "10.77.0.11"}, {"n2", "10.77.0.12"}}}
	want := "console=ttyS0 quiet panic=-1 ipv6.disable=1 snapline.role=etcd snapline.name=n1 snapline.ip=10.77.0.11/24" +
		" snapline.peers=n1=10.77.0.11,n2=10.77.0.12 snapline.token=demo-1 snapline.election=5000"
	if got := g.Append(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestLocate(t *testing.T) {
	uris := "'http://a/x/libc6_2.36-9_amd64.deb' libc6_2.36-9_amd64.deb 2759320 SHA256:1\n" +
		"'http://a/y/libc6-dev_2.36-9_amd64.deb' libc6-dev_2.36-9_amd64.deb 5 SHA256:2\n"
	if name, size := locate(uris, "libc6"); name != "libc6_2.36-9_amd64.deb" || size != "2759320" {
		t.Errorf("%q %q", name, size)
	}
	if name, _ := locate(uris, "libc"); name != "" {
		t.Errorf("found %q for a package that is not there", name)
	}
}
