package bpf

import (
	"errors"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/snapline/snapline"
)

// How often a VM's queue is looked at: all the time to know what its empty
// state is, and closely around the cut.
const (
	depthPace  = 5 * time.Millisecond
	depthHurry = 250 * time.Microsecond
	depthClose = 200 * time.Millisecond // this long after hurry
)

// depth watches how many frames wait between the gate and the hypervisor: in the
// tap's queue, from which it reads one after the other while the VM runs. A frame
// there has passed the gate, and is in no state that is captured.
//
// Two witnesses have to agree that none waits. The queue itself says whether it is
// empty, but not of a frame that has passed the gate and is not there yet, nor of
// those that a vhost worker has taken in advance. And a tap counts a frame as
// transmitted when the hypervisor reads it, and as dropped when the queue is full,
// where the gate counts what it lets pass. The difference is the number of those
// that wait, but for a constant: what came before the gate did. Each difference is a
// little too great when frames pass meanwhile, and never too small, so if one ever
// waited for nothing it is the smallest. What is dropped behind the gate, or cut in
// pieces there, lets the queue appear longer.
//
// Neither sees a frame that QEMU has read for a guest whose receive ring is full: it
// keeps one for each NIC then, and drops it when the machine is stopped
// (net/net.c, net_vm_change_state_handler).
type depth struct {
	objs    *gateObjects
	ports   []port
	queues  []queues // of all ports; nil when they cannot be looked at
	netlink *netlink.Handle
	wake    chan struct{}
	done    chan struct{}
	watcher sync.WaitGroup
	once    sync.Once

	seen []sample // the watcher's until it has ended
}

type sample struct {
	at      snapline.Instant // when the hypervisor's count had been read
	empty   bool             // no frame was in the queues just before
	waiting int64            // and a constant
}

func newDepth(ns namespace, objs *gateObjects, ports []port) (*depth, error) {
	d := &depth{objs: objs, ports: ports, wake: make(chan struct{}, 1), done: make(chan struct{})}
	err := ns.do(func() (err error) {
		d.netlink, err = netlink.NewHandle(unix.NETLINK_ROUTE)
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, p := range ports {
		q, err := openQueues(p.nic.Reader, p.nic.Tap)
		if err != nil { // the rest of the recording is as good without
			closeQueues(d.queues)
			d.queues = nil
			break
		}
		d.queues = append(d.queues, q)
	}
	d.watcher.Go(d.watch)
	return d, nil
}

// hurry has the queue watched closely from now on for a while. Never blocks.
func (d *depth) hurry() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

func (d *depth) watch() {
	pace, until := depthPace, time.Time{}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-d.done:
			return
		case <-d.wake:
			until = time.Now().Add(depthClose)
		case <-timer.C:
		}
		if s, err := d.look(); err == nil { // else nothing is claimed of this moment
			d.seen = append(d.seen, s)
		}
		if pace = depthPace; time.Now().Before(until) {
			pace = depthHurry
		}
		timer.Reset(pace)
	}
}

// look asks the queues, then reads what the hypervisor has taken, then the clock,
// then what has passed the gate: so all that passed before that moment is counted.
func (d *depth) look() (sample, error) {
	s := sample{empty: d.queues != nil}
	for _, q := range d.queues {
		is, err := q.empty()
		if err != nil {
			return s, err
		}
		s.empty = s.empty && is
	}
	for _, p := range d.ports {
		l, err := d.netlink.LinkByIndex(p.index)
		if err != nil {
			return s, err
		}
		st := l.Attrs().Statistics
		if st == nil {
			return s, errors.New("no statistics")
		}
		s.waiting -= int64(st.TxPackets + st.TxDropped)
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return s, err
	}
	s.at = snapline.Instant(now.Nano())
	var perCPU []gateCounters
	if err := d.objs.Counters.Lookup(uint32(0), &perCPU); err != nil {
		return s, err
	}
	s.waiting += int64(sum(perCPU).In)
	return s, nil
}

// close ends the watching and returns when the queue was empty.
func (d *depth) close() []snapline.Instant {
	d.once.Do(func() {
		close(d.done)
		d.watcher.Wait()
		if s, err := d.look(); err == nil {
			d.seen = append(d.seen, s)
		}
		d.netlink.Close()
		closeQueues(d.queues)
	})
	return drained(d.seen)
}

func closeQueues(all []queues) {
	for _, q := range all {
		q.close()
	}
}

func drained(seen []sample) []snapline.Instant {
	if len(seen) == 0 {
		return nil
	}
	least := seen[0].waiting
	for _, s := range seen {
		least = min(least, s.waiting)
	}
	var empty []snapline.Instant
	for _, s := range seen {
		if s.empty && s.waiting == least {
			empty = append(empty, s.at)
		}
	}
	return empty
}
