package cmdline

import (
	"slices"
	"strings"
	"testing"
)

// TestMoveDisks wants QEMU to open the new path however the old one is named,
// and nothing else to change.
func TestMoveDisks(t *testing.T) {
	target := Target{
		Machine: "pc-q35-7.2", Accel: "tcg", QMP: "/q", Dir: "/srv",
		Disks: map[string]string{"/srv/a.img": "/new/a.img", "/srv/odd,name": "/new,2/b", "/srv/same": "/srv/same"},
	}
	for _, c := range []struct{ option, in, want string }{
		{"drive", "file=/srv/a.img,if=virtio", "file=/new/a.img,if=virtio"},
		{"drive", "if=none,id=d,file=a.img,format=raw", "if=none,id=d,file=/new/a.img,format=raw"},
		{"drive", "file=../srv/./a.img", "file=/new/a.img"},
		{"drive", "file=file:a.img,id=x,,y", "file=/new/a.img,id=x,,y"},
		{"drive", "file=/srv/odd,,name", "file=/new,,2/b"},
		{"drive", "driver=qcow2,file.driver=file,file.filename=/srv/a.img", "driver=qcow2,file.driver=file,file.filename=/new/a.img"},
		{"drive", `file=json:{"driver":"qcow2",,"file":{"driver":"file",,"filename":"/srv/a.img"}}`, `file=json:{"driver":"qcow2",,"file":{"driver":"file",,"filename":"/new/a.img"}}`},
		{"drive", "file=/srv/top,backing.file.filename=/srv/a.img", "file=/srv/top,backing.file.filename=/new/a.img"},
		{"blockdev", "driver=file,filename=a.img,node-name=n", "driver=file,filename=/new/a.img,node-name=n"},
		{"blockdev", "driver=qcow2,node-name=n,file.driver=file,file.filename=/srv/odd,,name", "driver=qcow2,node-name=n,file.driver=file,file.filename=/new,,2/b"},
		{"blockdev", `{"driver":"file","filename":"/srv/a.img","node-name":"n"}`, `{"driver":"file","filename":"/new/a.img","node-name":"n"}`},
		{"blockdev", `{ "node-name": "a.img", "driver":"qcow2", "file" : { "driver":"file","filename" : "/srv/odd,name", "x":[1,{"y":null}] }, "read-only":false}`,
			`{ "node-name": "a.img", "driver":"qcow2", "file" : { "driver":"file","filename" : "/new,2/b", "x":[1,{"y":null}] }, "read-only":false}`},
		{"blockdev", `{"driver":"qcow2","file.driver":"file","file.filename":"a.img"}`, `{"driver":"qcow2","file.driver":"file","file.filename":"/new/a.img"}`},
		{"hda", "a.img", "/new/a.img"},
		{"hdb", "/srv/odd,name", "/new,2/b"},
		{"sd", "/srv/a.img", "/new/a.img"},
		{"pflash", "/srv/a.img", "/new/a.img"},
		{"", "a.img", "/new/a.img"},
		// Whatever else looks like it.
		{"drive", "file=/srv/a.img2,id=/srv/a.img", ""},
		{"drive", "file=/other/a.img", ""},
		{"drive", "file=nbd:/srv/a.img", ""},
		{"drive", "file=same", ""},
		{"blockdev", `{"driver":"qcow2","file":"a.img","node-name":"/srv/a.img"}`, ""},
		{"blockdev", `{"driver":"file","filename":"/srv/a.img"`, ""}, // no JSON
		{"append", "root=/srv/a.img", ""},
		{"append", "a.img", ""},
		{"kernel", "a.img", ""},
		{"name", "/srv/a.img", ""},
		{"chardev", "file,id=c,path=/srv/a.img", ""},
	} {
		if c.want == "" {
			c.want = c.in
		}
		opts := []Option{{c.option, c.in}, {"drive", "file=/srv/a.img"}, {"drive", "file=/srv/odd,,name"}}
		got, err := Rewrite(Render(opts), target)
		if err != nil {
			t.Fatal(err)
		}
		i := 0
		if c.option != "" {
			i = 1
		}
		if got[i] != c.want {
			t.Errorf("-%s %s\ngot  %s\nwant %s", c.option, c.in, got[i], c.want)
		}
		if again, err := Rewrite(append([]string{"-drive", "file=/srv/a.img", "-drive", "file=/srv/odd,,name"}, got...), target); err != nil || again[4+i] != c.want {
			t.Errorf("again: %q, %v", again, err)
		}
	}
}

// TestMoveUnnamedDisk cannot move what another file names.
func TestMoveUnnamedDisk(t *testing.T) {
	args := split("-readconfig /srv/vm.cfg")
	if _, err := Rewrite(args, Target{Dir: "/srv", QMP: "/q", Disks: map[string]string{"/srv/a": "/new/a"}}); err == nil || !strings.Contains(err.Error(), "/srv/a") {
		t.Errorf("moved: %v", err)
	}
	if _, err := Rewrite(args, Target{Dir: "/srv", QMP: "/q", Disks: map[string]string{"/srv/a": "/srv/a"}}); err != nil {
		t.Errorf("one that stays: %v", err)
	}
}

// FuzzMoveDisks wants the rewritten command line to name the new path instead
// of the old one, and the same options besides.
func FuzzMoveDisks(f *testing.F) {
	f.Add("drive", "file=/a,if=none")
	f.Add("blockdev", `{"file":{"filename":"/a"},"x":[{},"filename"]}`)
	f.Add("blockdev", "file.filename=/a")
	f.Add("hda", "/a")
	f.Fuzz(func(t *testing.T, name, value string) {
		opts := []Option{{name, value}}
		had := Mentions(opts, "/", "/a")
		target := Target{Dir: "/", Disks: map[string]string{"/a": "/b,c"}}
		if err := target.moveDisks(opts); err != nil {
			if had {
				t.Fatal(err)
			}
			return
		}
		if Mentions(opts, "/", "/a") || !Mentions(opts, "/", "/b,c") {
			t.Errorf("-%s %q became %q", name, value, opts[0].Value)
		}
		rest := slices.Clone(opts)
		if err := target.moveDisks(rest); err == nil || !slices.Equal(rest, opts) {
			t.Errorf("again: %v, %q", err, rest)
		}
	})
}
