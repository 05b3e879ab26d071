package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/api"
	"github.com/snapline/snapline/lab"
	"github.com/snapline/snapline/lab/bank"
	"github.com/snapline/snapline/qemu/qmp"
)

const (
	singleMemMB = 1024
	writerMiB   = 640
	settle      = 3 * time.Second // between two runs
)

// sample is one run of one method on one machine.
type sample struct {
	PauseMS   float64 `json:"pause_ms"`   // STOP to RESUME
	GapMS     float64 `json:"gap_ms"`     // longest wait of a neighbour's ping-pong
	CaptureMS float64 `json:"capture_ms"` // from asking to all data on disk
	SpeedPct  float64 `json:"speed_pct"`  // of the guest's writes meanwhile, of those before
}

// single is a lab whose n1 writes to its memory while n2 pings it.
type single struct {
	lab    *lab.Lab
	api    *api.Client
	n1, n2 *bank.Client
	vm     lab.VM
	dir    string
}

func measureSingle(ctx context.Context, o options) (_ map[string][]sample, err error) {
	s := single{}
	if s.dir, err = os.MkdirTemp("", "snapline-bench-"); err != nil {
		return nil, err
	}
	defer os.RemoveAll(s.dir)
	s.lab, err = lab.Up(ctx, lab.Options{Name: "bench1", Hosts: 2, Workload: lab.Bench, MemMB: singleMemMB, Snapline: o.program}, nil)
	if err != nil {
		return nil, err
	}
	defer s.lab.Down(context.WithoutCancel(ctx))
	if err := s.prepare(ctx); err != nil {
		return nil, err
	}
	methods := []struct {
		name string
		run  func(context.Context, *sample) error
	}{{"snapline", s.snapline}, {"savevm", s.savevm}, {"stop + migrate", s.migrate}}
	all := map[string][]sample{}
	for i := range o.runs {
		for _, m := range methods {
			got, err := s.one(ctx, m.run)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", m.name, err)
			}
			say("  %d/%d %-14s pause %8.1f ms, gap %8.1f ms, capture %8.0f ms, speed %3.0f %%", i+1, o.runs, m.name, got.PauseMS, got.GapMS, got.CaptureMS, got.SpeedPct)
			all[m.name] = append(all[m.name], got)
		}
	}
	return all, nil
}

func (s *single) prepare(ctx context.Context) error {
	clients := s.lab.BankClients()
	s.n1, s.n2, s.vm = clients[0], clients[1], s.lab.VMs()[0]
	if err := s.n1.StartWriter(ctx, writerMiB); err != nil {
		return err
	}
	if err := s.n2.StartPing(ctx, "n1"); err != nil {
		return err
	}
	var err error
	if s.api, err = api.NewClient(s.lab.Server()); err != nil {
		return err
	}
	g := snapline.Group{Name: "bench"}
	for _, vm := range s.lab.VMs() {
		g.Members = append(g.Members, snapline.Member{Name: snapline.MemberName(vm.Name), Host: snapline.HostName(vm.Host), QEMU: &snapline.QEMU{QMP: vm.QMP}})
	}
	if _, err := s.api.Apply(ctx, g); err != nil {
		return err
	}
	// The guest takes its memory page by page before it begins to write.
	for {
		b, err := s.n1.Bench(ctx)
		if err != nil || b.PagesWritten > 0 {
			return err
		}
		if err := wait(ctx, time.Second); err != nil {
			return err
		}
	}
}

// one runs a method once and reads what the guests saw of it.
func (s *single) one(ctx context.Context, method func(context.Context, *sample) error) (sample, error) {
	var got sample
	if err := wait(ctx, settle); err != nil {
		return got, err
	}
	before, err := s.rate(ctx, settle)
	if err != nil {
		return got, err
	}
	if before == 0 {
		return got, errors.New("the guest has stopped writing")
	}
	if err := s.n2.ResetGaps(ctx); err != nil {
		return got, err
	}
	start, err := s.n1.Bench(ctx)
	if err != nil {
		return got, err
	}
	began := time.Now()
	if err := method(ctx, &got); err != nil {
		return got, err
	}
	took := time.Since(began)
	got.CaptureMS = ms(took)
	end, err := s.n1.Bench(ctx)
	if err != nil {
		return got, err
	}
	got.SpeedPct = 100 * float64(end.PagesWritten-start.PagesWritten) / took.Seconds() / before
	if err := wait(ctx, time.Second); err != nil { // for the ping that was under way
		return got, err
	}
	ping, err := s.n2.Bench(ctx)
	if err == nil && ping.PingError != "" {
		err = fmt.Errorf("the ping-pong's connection broke: %s", ping.PingError)
	}
	got.GapMS = ping.LongestGapMS
	return got, err
}

// rate is how many pages n1 writes in a second of the machine's time.
func (s *single) rate(ctx context.Context, over time.Duration) (float64, error) {
	a, err := s.n1.Bench(ctx)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if err := wait(ctx, over); err != nil {
		return 0, err
	}
	b, err := s.n1.Bench(ctx)
	return float64(b.PagesWritten-a.PagesWritten) / time.Since(began).Seconds(), err
}

func (s *single) snapline(ctx context.Context, got *sample) error {
	r, err := take(ctx, s.api, "bench", snapline.Colour)
	if err != nil {
		return err
	}
	for _, m := range r.Members {
		if m.Method != "background-snapshot" {
			return fmt.Errorf("%s was captured by %s: %s", m.Name, m.Method, m.Why)
		}
		if m.Name == "n1" {
			got.PauseMS = m.PauseMS
		}
	}
	return s.api.Delete(ctx, r.ID)
}

// savevm is QEMU's own snapshot, into a qcow2 file that is there for it only.
func (s *single) savevm(ctx context.Context, got *sample) error {
	image := filepath.Join(s.dir, "vmstate.qcow2")
	if out, err := command(ctx, "qemu-img", "create", "-q", "-f", "qcow2", image, "16M"); err != nil {
		return fmt.Errorf("qemu-img: %w: %s", err, out)
	}
	defer os.Remove(image)
	return s.monitor(ctx, func(c *qmp.Client) error {
		if err := human(ctx, c, "drive_add 0 if=none,id=vmstate,format=qcow2,file="+image, "OK"); err != nil {
			return err
		}
		pause, err := stopped(ctx, c, func() error { return human(ctx, c, "savevm bench", "") })
		if err != nil {
			return err
		}
		got.PauseMS = pause
		return human(ctx, c, "drive_del vmstate", "")
	})
}

// migrate stops the machine and migrates it to a file.
func (s *single) migrate(ctx context.Context, got *sample) error {
	file := filepath.Join(s.dir, "migrate.bin")
	defer os.Remove(file)
	return s.monitor(ctx, func(c *qmp.Client) error {
		if err := human(ctx, c, "migrate_set_parameter max-bandwidth 100G", ""); err != nil {
			return err
		}
		pause, err := stopped(ctx, c, func() error {
			if _, err := qmp.Run(ctx, c, qmp.Stop{}); err != nil {
				return err
			}
			if err := human(ctx, c, `migrate -d "exec:cat > `+file+`"`, ""); err != nil {
				return err
			}
			if err := migrated(ctx, c); err != nil {
				return err
			}
			_, err := qmp.Run(ctx, c, qmp.Cont{})
			return err
		})
		got.PauseMS = pause
		return err
	})
}

func (s *single) monitor(ctx context.Context, use func(*qmp.Client) error) error {
	c, err := qmp.Dial(ctx, s.vm.QMP)
	if err != nil {
		return err
	}
	defer c.Close()
	return use(c)
}

// migrated waits until the migration has ended well.
func migrated(ctx context.Context, c *qmp.Client) error {
	for {
		m, err := qmp.Run(ctx, c, qmp.QueryMigrate{})
		switch {
		case err != nil:
			return err
		case m.Status == "completed":
			return nil
		case !m.Under():
			return fmt.Errorf("migrate: %s %s", m.Status, m.Error)
		}
		if err := wait(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
}

// human runs a line of QEMU's human monitor, which says nothing, or want.
func human(ctx context.Context, c *qmp.Client, line, want string) error {
	out, err := qmp.Run(ctx, c, qmp.HMP{Line: line})
	if err == nil && strings.TrimSpace(string(out)) != want {
		err = fmt.Errorf("%s: %s", line, out)
	}
	return err
}
