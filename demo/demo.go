package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/lab"
	"github.com/snapline/snapline/lab/etcd"
)

// How long the load runs before and after the snapshot.
const (
	loadBefore = 6 * time.Second
	loadAfter  = 4 * time.Second
)

// places is where each member goes: none stays where it was.
const places = "n1=h2,n2=h3,n3=h1"

type demo struct {
	program string
	out     string
	began   time.Time
	lab     *lab.Lab
	report  report
}

// play is the demo, act by act. The second act is in second.go.
func (d *demo) play(ctx context.Context) error {
	if err := os.MkdirAll(d.out, 0o755); err != nil {
		return err
	}
	if err := lab.Down(ctx, labName); err != nil { // of a demo that was killed
		return err
	}
	d.say("three hosts, a coordinator, three agents, and a three-member etcd cluster in three VMs")
	var err error
	d.lab, err = lab.Up(ctx, lab.Options{Name: labName, Workload: lab.Etcd, Snapline: d.program}, func(s string) { fmt.Fprintln(os.Stderr, "  "+s) })
	if err != nil {
		return err
	}
	clients := d.lab.EtcdClients()
	defer func() {
		for _, c := range clients {
			c.Close()
		}
	}()
	before, err := etcd.AwaitHealthy(ctx, clients)
	if err != nil {
		return err
	}
	if err := d.command(ctx, nil, "apply", "-f", d.lab.GroupFile()).Run(); err != nil {
		return fmt.Errorf("snapline apply: %w", err)
	}
	journal, began, id, err := d.underLoad(ctx)
	if err != nil {
		return err
	}
	if err := d.restore(ctx, id); err != nil {
		return err
	}
	d.say("is it the cluster of the cut?")
	wait, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	list, err := d.verify(wait, clients, etcd.Claim{Before: before, Journal: journal, Began: began})
	if err == nil {
		err = d.fsck(ctx, id, &list)
	}
	if err == nil {
		err = d.draw(ctx, id)
	}
	d.report.Checks = list
	fmt.Fprintln(os.Stderr, list)
	if err == nil && !list.OK() {
		err = fmt.Errorf("a check of the restored cluster failed")
	}
	if err != nil {
		return err
	}
	return d.second(ctx, clients)
}

// underLoad writes to the cluster, takes a snapshot meanwhile and goes on
// writing; then every VM is killed.
func (d *demo) underLoad(ctx context.Context) (j etcd.Journal, began time.Time, id snapline.SnapshotID, err error) {
	path := filepath.Join(d.out, firstJournal)
	f, err := os.Create(path)
	if err != nil {
		return nil, began, "", err
	}
	defer f.Close()
	d.say("write load on; the snapshot comes in %v", loadBefore)
	loadCtx, stop := context.WithCancel(ctx)
	defer stop()
	loaded := make(chan error, 1)
	go func() {
		loaded <- etcd.Load(loadCtx, etcd.LoadOptions{Endpoints: d.lab.EtcdEndpoints(), Dial: d.lab.Switch().DialContext}, f)
	}()
	if err := pause(ctx, loadBefore); err != nil {
		return nil, began, "", err
	}
	d.say("snapline take etcd")
	began = time.Now()
	if id, err = d.take(ctx); err != nil {
		return nil, began, "", err
	}
	ended := time.Now()
	if err := pause(ctx, loadAfter); err != nil {
		return nil, began, "", err
	}
	d.say("SIGKILL to every VM, while the load goes on")
	for _, vm := range d.lab.VMs() {
		if err := d.lab.KillVM(ctx, vm.Name); err != nil {
			return nil, began, "", err
		}
	}
	stop()
	if err := <-loaded; err != nil {
		return nil, began, "", err
	}
	if j, err = readJournal(path); err != nil {
		return nil, began, "", err
	}
	d.report.Load = loadReport{Acknowledged: j.Acknowledged(time.Time{}), BeforeTake: j.Acknowledged(began),
		GapTakeMS: ms(j.LongestGap(began, ended)), GapBeforeMS: ms(j.LongestGap(time.Time{}, began))}
	fmt.Fprintf(os.Stderr, "  etcd's client: %d writes acknowledged, %d of them before the take; longest gap %.0f ms during the take, %.0f ms before it\n",
		d.report.Load.Acknowledged, d.report.Load.BeforeTake, d.report.Load.GapTakeMS, d.report.Load.GapBeforeMS)
	return j, began, id, nil
}

func (d *demo) take(ctx context.Context) (snapline.SnapshotID, error) {
	if err := d.command(ctx, os.Stdout, "take", "etcd", "--note", "demo").Run(); err != nil {
		return "", fmt.Errorf("snapline take: %w", err)
	}
	var list []struct{ ID snapline.SnapshotID }
	if err := d.query(ctx, &list, "list", "etcd"); err != nil || len(list) == 0 {
		return "", fmt.Errorf("snapline list: %d snapshots, %v", len(list), err)
	}
	id := list[len(list)-1].ID
	return id, d.query(ctx, &d.report.Snapshot, "show", string(id))
}

func (d *demo) restore(ctx context.Context, id snapline.SnapshotID) error {
	d.say("snapline restore %s --place %s", id, places)
	began := time.Now()
	if err := d.command(ctx, os.Stdout, "restore", string(id), "--place", places).Run(); err != nil {
		return fmt.Errorf("snapline restore: %w", err)
	}
	d.report.RestoreMS = ms(time.Since(began))
	return nil
}

// verify waits until the restored cluster answers at all, then checks it once:
// a cluster that has lost its leader meanwhile must not pass by waiting.
func (d *demo) verify(ctx context.Context, clients []*etcd.Client, claim etcd.Claim) (list checkList, err error) {
	for {
		list, err = etcd.Verify(ctx, clients, claim)
		if err == nil || pause(ctx, 200*time.Millisecond) != nil {
			return list, err
		}
	}
}

// fsck exports each member's disk from the snapshot and checks the file system.
func (d *demo) fsck(ctx context.Context, id snapline.SnapshotID, list *checkList) error {
	dir, err := os.MkdirTemp("", "snapline-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	at, key := d.lab.Repository()
	for _, m := range d.report.Snapshot.Members {
		for _, disk := range m.Disks {
			raw := filepath.Join(dir, string(m.Name)+"-"+disk.ID+".raw")
			if err := d.command(ctx, nil, "export", string(id), "--member", string(m.Name), "--disk", disk.ID, "-o", raw, "--repo", at, "--key-file", key).Run(); err != nil {
				return fmt.Errorf("snapline export: %w", err)
			}
			err := lab.Fsck(ctx, raw)
			detail := fmt.Sprintf("disk %s of %s, as it was at the cut", disk.ID, m.Name)
			if err != nil {
				detail = err.Error()
			}
			list.Add("fsck", err == nil, "%s", detail)
		}
	}
	return nil
}

// draw writes the space-time diagram of the cut.
func (d *demo) draw(ctx context.Context, id snapline.SnapshotID) error {
	page := filepath.Join(d.out, "demo-cut.html")
	if err := os.RemoveAll(page); err != nil { // of an earlier demo
		return err
	}
	at, key := d.lab.Repository()
	if err := d.command(ctx, nil, "show", string(id), "--diagram", page, "--repo", at, "--key-file", key).Run(); err != nil {
		return fmt.Errorf("snapline show: %w", err)
	}
	return nil
}

// command runs snapline as a user would, who reads its progress on stderr.
func (d *demo) command(ctx context.Context, stdout *os.File, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, d.program, append(args, "--server", d.lab.Server())...)
	cmd.Stderr = os.Stderr
	if stdout != nil {
		cmd.Stdout = stdout
	}
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// query runs snapline --json and decodes what it says.
func (d *demo) query(ctx context.Context, into any, args ...string) error {
	cmd := d.command(ctx, nil, append(args, "--json")...)
	b, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("snapline %s: %w", args[0], err)
	}
	return json.Unmarshal(b, into)
}

func pause(ctx context.Context, t time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(t):
		return nil
	}
}

func readJournal(path string) (etcd.Journal, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return etcd.ReadJournal(f)
}

func ms(t time.Duration) float64 { return float64(t.Microseconds()) / 1000 }
