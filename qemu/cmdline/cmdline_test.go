package cmdline

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func split(s string) []string { return strings.Fields(s) }

func TestRewrite(t *testing.T) {
	target := Target{
		Machine: "pc-q35-7.2", Accel: "tcg", QMP: "/run/n1.qmp", Dir: "/run",
		MACs: map[string]string{"n0": "52:54:00:00:00:01", "n1": "52:54:00:00:00:02"},
	}
	const end = " -S -incoming defer"
	for name, c := range map[string]struct {
		taps     [][]int
		in, want string
	}{
		"as it should be": {nil,
			"-machine q35 -display none -qmp unix:/run/n1.qmp,server=on,wait=off",
			"-machine pc-q35-7.2 -display none -qmp unix:/run/n1.qmp,server=on,wait=off" + end},
		"machine with options": {nil,
			"-M type=q35,accel=kvm:tcg,usb=off --display gtk,gl=on -qmp unix:n1.qmp,server,nowait -daemonize",
			"-M pc-q35-7.2,usb=off,accel=tcg -display none -qmp unix:n1.qmp,server,nowait" + end,
		},
		"no machine, no display, no monitor": {nil,
			"-m 64", "-m 64 -machine pc-q35-7.2 -display none -qmp unix:/run/n1.qmp,server=on,wait=off" + end},
		"machine without a type": {nil,
			"-machine accel=kvm -nographic", "-machine pc-q35-7.2,accel=tcg -nographic -qmp unix:/run/n1.qmp,server=on,wait=off" + end},
		"two accelerators": {nil,
			"-machine q35 -accel kvm -accel tcg,thread=multi -nographic", "-machine pc-q35-7.2 -accel tcg,thread=multi -nographic -qmp unix:/run/n1.qmp,server=on,wait=off" + end},
		"monitor by chardev": {nil,
			"-machine q35 -nographic -chardev socket,id=m,path=/run/n1.qmp,server=on -mon chardev=m,mode=control",
			"-machine pc-q35-7.2 -nographic -chardev socket,id=m,path=/run/n1.qmp,server=on,wait=off -mon chardev=m,mode=control" + end},
		"an earlier restore": {nil,
			"-machine pc-q35-7.2 -nographic -qmp unix:/run/n1.qmp,server=on,wait=off -S -incoming defer -loadvm x",
			"-machine pc-q35-7.2 -nographic -qmp unix:/run/n1.qmp,server=on,wait=off" + end},
		"waiting sockets": {nil,
			"-machine q35 -nographic -serial unix:/run/s,server=on -serial tcp:[::1]:4,server,wait -qmp unix:/run/n1.qmp,server",
			"-machine pc-q35-7.2 -nographic -serial unix:/run/s,server=on,wait=off -serial tcp:[::1]:4,server,wait=off -qmp unix:/run/n1.qmp,server,wait=off" + end},
		"taps": {[][]int{{3}, {4}, {5, 6}, {7}, {8}},
			"-machine q35 -nographic -qmp unix:/run/n1.qmp,server,nowait" +
				" -netdev tap,id=n0,ifname=tap0,script=no,downscript=no,vhost=on -device virtio-net-pci,netdev=n0" +
				" -netdev bridge,id=n1,br=br0,helper=/usr/lib/h -device e1000,netdev=n1,mac=52:54:00:00:00:99" +
				" -netdev type=tap,id=n2,ifname=t,queues=2 -netdev user,id=n3" +
				" -nic tap,ifname=tap9,script=no,model=e1000 -net nic,model=rtl8139 -net tap,fd=11",
			"-machine pc-q35-7.2 -nographic -qmp unix:/run/n1.qmp,server,nowait" +
				" -netdev tap,id=n0,vhost=on,fd=3 -device virtio-net-pci,netdev=n0,mac=52:54:00:00:00:01" +
				" -netdev tap,id=n1,fd=4 -device e1000,netdev=n1,mac=52:54:00:00:00:99" +
				" -netdev tap,id=n2,fds=5:6 -netdev user,id=n3" +
				" -nic tap,model=e1000,fd=7 -net nic,model=rtl8139 -net tap,fd=8" + end},
	} {
		t.Run(name, func(t *testing.T) {
			x := target
			x.Taps = c.taps
			got, err := Rewrite(split(c.in), x)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, strings.Join(got, " ")); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
			again, err := Rewrite(got, x)
			if err != nil || !slices.Equal(got, again) {
				t.Errorf("again: %v, %v", again, err)
			}
		})
	}
}

func TestRewriteCountsTaps(t *testing.T) {
	for _, taps := range [][][]int{nil, {{3}, {4}}} {
		if _, err := Rewrite(split("-netdev tap,id=n0"), Target{Taps: taps}); err == nil {
			t.Errorf("%d taps for one back end: no error", len(taps))
		}
	}
}

func TestParams(t *testing.T) {
	p := ParseParams("tap,id=a,,b,vhost=on,x")
	if p.Implied("type") != "tap" || p.Get("id") != "a,b" || p.Get("x") != "on" || p.String() != "tap,id=a,,b,vhost=on,x" {
		t.Errorf("%+v", p)
	}
	p = ParseParams(`{"type":"tap","id":"n0","vhost":true,"queues":2}`)
	if p.Implied("type") != "tap" || p.Get("vhost") != "on" || p.Get("queues") != "2" {
		t.Errorf("%+v", p)
	}
}

func TestFiles(t *testing.T) {
	opts := Parse(split("-kernel vmlinuz -initrd /boot/initrd -bios bios.bin -bios ./own.bin -drive file=a.img,readonly=on" +
		" -blockdev driver=file,filename=b.img,node-name=b -cdrom http://x/y.iso -pidfile run/pid -chardev socket,id=c,path=/run/c,server=on" +
		" -chardev socket,id=d,path=/run/d -serial unix:s.sock,server -chardev file,id=e,path=log/e"))
	var in, out []string
	for _, f := range Inputs(opts, "/srv") {
		in = append(in, f.Path)
	}
	for _, f := range Outputs(opts, "/srv") {
		out = append(out, f.Path)
	}
	if d := cmp.Diff(split("/srv/vmlinuz /boot/initrd /srv/own.bin /srv/a.img /srv/b.img"), in); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(split("/srv/run/pid /run/c /srv/s.sock /srv/log/e"), out); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(split("/srv/run /run /srv /srv/log"), Dirs(Outputs(opts, "/srv"))); d != "" {
		t.Error(d)
	}
}

func TestUnrepeatable(t *testing.T) {
	for args, want := range map[string]int{
		"-m 64 -netdev tap,fd=3,id=n":                   0,
		"-add-fd fd=3,set=1 -drive file=/dev/fdset/1":   2,
		"-chardev socket,id=c,fd=5 -netdev socket,fd=4": 2,
		"-chroot /x --preconfig":                        2,
	} {
		if got := Unrepeatable(split(args)); len(got) != want {
			t.Errorf("%s: %q", args, got)
		}
	}
}

// FuzzRewrite rewrites anything: it must not panic, and must rest after once.
func FuzzRewrite(f *testing.F) {
	f.Add("-machine\x00q35\x00-netdev\x00tap,id=n0,ifname=x\x00-device\x00e1000,netdev=n0")
	f.Add("-M\x00accel=kvm\x00-nic\x00bridge,br=b\x00-S\x00-incoming\x00tcp:0:1")
	f.Add("-chardev\x00{\"backend\":\"socket\",\"server\":true}\x00-qmp\x00unix:a=b,server")
	f.Fuzz(func(t *testing.T, s string) {
		args := strings.Split(s, "\x00")
		target := Target{Machine: "pc-q35-7.2", Accel: "tcg", QMP: "/q", Dir: "/"}
		for i, b := range Backends(Parse(args)) {
			if b.UsesTap() {
				target.Taps = append(target.Taps, []int{i + 3})
			}
		}
		once, err := Rewrite(args, target)
		if err != nil {
			t.Fatal(err)
		}
		opts := Parse(once)
		Inputs(opts, "/")
		Outputs(opts, "/")
		Unrepeatable(once)
		if again, err := Rewrite(once, target); err != nil || !slices.Equal(once, again) {
			t.Fatalf("%q\nonce %q\nagain %q, %v", args, once, again, err)
		}
	})
}

// FuzzParams renders what it has parsed, and parses that to the same.
func FuzzParams(f *testing.F) {
	f.Add("tap,id=a,,b,vhost=on,x")
	f.Fuzz(func(t *testing.T, s string) {
		p := ParseParams(s)
		if strings.HasPrefix(s, "{") || strings.HasPrefix(p.String(), "{") {
			return
		}
		if d := cmp.Diff(p, ParseParams(p.String())); d != "" {
			t.Fatal(d)
		}
	})
}
