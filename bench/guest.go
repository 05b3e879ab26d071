package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/lab"
	"github.com/snapline/snapline/lab/etcd"
	"github.com/snapline/snapline/qemu"
)

const (
	guestMemMB = 1024
	guestData  = 40 << 20         // bytes of documents; in memory they are there several times
	guestWork  = 15 * time.Second // of small writes, between two versions
	rewritten  = 10               // one of so many documents is written again after that
	fillers    = 8                // clients at the same time
)

// guest is a lab of one machine that runs etcd with real text in it, so that
// its memory is what a server's is: a kernel, a database's heap, its files in
// the page cache.
type guest struct {
	lab        *lab.Lab
	hypervisor *qemu.Hypervisor
	member     snapline.Member
	info       snapline.VMInfo
	documents  []document
}

func startGuest(ctx context.Context, o options) (_ *guest, err error) {
	g := &guest{}
	if g.documents, err = readDocuments(ctx, guestData); err != nil {
		return nil, err
	}
	g.lab, err = lab.Up(ctx, lab.Options{Name: "benchr", Hosts: 1, Workload: lab.Etcd, MemMB: guestMemMB, DiskMB: -1}, nil)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.close(ctx))
		}
	}()
	program, err := filepath.Abs(o.program)
	if err != nil {
		return nil, err
	}
	vm := g.lab.VMs()[0]
	g.member = snapline.Member{Name: snapline.MemberName(vm.Name), Host: snapline.HostName(vm.Host), QEMU: &snapline.QEMU{QMP: vm.QMP}}
	g.hypervisor, err = qemu.New(qemu.Options{NetNS: string(g.lab.Place(vm.Host)), LogDir: g.lab.Dir, StateDir: g.lab.Dir, GuardCommand: []string{program, "guard"}})
	if err != nil {
		return nil, err
	}
	return g, g.write(ctx, g.documents)
}

func (g *guest) close(ctx context.Context) error { return g.lab.Down(context.WithoutCancel(ctx)) }

// write puts documents into etcd.
func (g *guest) write(ctx context.Context, list []document) error {
	clients := g.lab.EtcdClients()
	defer closeClients(clients)
	eg, ctx := errgroup.WithContext(ctx)
	eg.SetLimit(fillers)
	for _, d := range list {
		eg.Go(func() error {
			_, err := clients[0].Put(ctx, d.Key, d.Value)
			return err
		})
	}
	return eg.Wait()
}

// rewrite writes a part of the documents again, a little longer.
func (g *guest) rewrite(ctx context.Context) error {
	var again []document
	for i := 0; i < len(g.documents); i += rewritten {
		d := g.documents[i]
		again = append(again, document{d.Key, d.Value + "\n"})
	}
	return g.write(ctx, again)
}

// load writes small keys for that long.
func (g *guest) load(ctx context.Context, d time.Duration) error {
	clients := g.lab.EtcdClients()
	defer closeClients(clients)
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return etcd.Load(ctx, etcd.LoadOptions{Endpoints: g.lab.EtcdEndpoints(), Dial: g.lab.Switch().DialContext}, io.Discard)
}

// capture writes the machine's state to a new file while the machine works on.
func (g *guest) capture(ctx context.Context, path string) (err error) {
	vm, err := g.hypervisor.Adopt(ctx, g.member)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, vm.Close()) }()
	g.info = vm.Info()
	c, err := vm.Prime(ctx, path)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			c.Cancel()
		}
	}()
	loading, stop := context.WithCancel(ctx)
	var eg errgroup.Group
	eg.Go(func() error { return g.load(loading, time.Minute) })
	report, err := c.Cut(ctx)
	if err == nil && report.Method != "background-snapshot" {
		err = fmt.Errorf("captured by %s: %s", report.Method, report.Why)
	}
	if err == nil {
		_, err = c.Finish(ctx)
	}
	stop()
	return errors.Join(err, eg.Wait())
}

func closeClients(list []*etcd.Client) {
	for _, c := range list {
		c.Close()
	}
}
