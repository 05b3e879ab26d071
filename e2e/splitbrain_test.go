package e2e

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"

	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/lab"
	"github.com/snapline/snapline/lab/bank"
	"github.com/snapline/snapline/node"
)

// A host of a protected group is cut off from the control plane, and from that
// alone: its machines run on and their network works. The group comes back
// elsewhere. Not one frame of the machines that were left behind leaves their host
// from the lease's end on, also when the host is back; and then they are ended.
func TestSplitBrain(t *testing.T) {
	s := newSite(t, lab.Options{Workload: lab.Bank, MemMB: 192, DiskMB: 64})
	s.apply(t)
	bank := s.BankClients()
	s.mustRun(t, nil, "protect", string(s.group), "--every", "20s", "--keep-last", "2")
	for _, c := range []struct {
		name   string
		signal syscall.Signal
	}{{"agent frozen", syscall.SIGSTOP}, {"agent killed", syscall.SIGKILL}} {
		if !t.Run(c.name, func(t *testing.T) { s.splitBrain(t, bank, c.signal) }) {
			return // one failure is the cause of the next
		}
	}
	s.mustRun(t, nil, "unprotect", string(s.group))
	s.awaitIdle(t)
	s.tidy(t)
}

func (s *site) splitBrain(t *testing.T, clients []*bank.Client, signal syscall.Signal) {
	s.awaitProtected(t)
	awaitMoney(t, drainLimit, clients, "tcp", 3)
	s.awaitIdle(t)
	host, err := s.VMHost("n2")
	if err != nil {
		t.Fatal(err)
	}
	fence := s.fenceOf(t, host, "n2")
	if fence == nil {
		t.Fatal("a protected member has no fence")
	}
	zombie, err := s.VMPid("n2")
	if err != nil {
		t.Fatal(err)
	}
	n2, err := s.VM("n2")
	if err != nil {
		t.Fatal(err)
	}
	heard := s.framesOf(t, host, n2)
	before := s.lastEvent(t)

	if err := syscall.Kill(s.DaemonPID(host), signal); err != nil {
		t.Fatal(err)
	}
	heal := s.cutControl(t, host)
	s.awaitEvent(t, 60*time.Second, snapline.EventRecovered, before)
	rules, err := fence.Rules()
	if err != nil {
		t.Fatal(err)
	}
	now, wall := node.BootClock{}.Now(), time.Now()
	end := wall.Add(rules.OpenUntil.Sub(now))
	if rules.OpenUntil >= now {
		t.Fatalf("the group came back %v before the lease's end", rules.OpenUntil.Sub(now))
	}
	awaitMoney(t, drainLimit, clients, "tcp", 3)
	if err := syscall.Kill(zombie, 0); err != nil {
		t.Fatalf("there is no zombie to be silenced: %v", err)
	}
	c, err := fence.Counters()
	if err != nil || c.Shut == 0 {
		t.Errorf("the fence kept nothing back: %+v, %v", c, err)
	}
	fence.Close()

	heal()
	if signal == syscall.SIGSTOP {
		err = syscall.Kill(s.DaemonPID(host), syscall.SIGCONT)
	} else {
		err = s.StartAgent(host)
	}
	if err != nil {
		t.Fatal(err)
	}
	await(t, 20*time.Second, "the zombie's end", func(context.Context) error {
		if err := syscall.Kill(zombie, 0); err == nil {
			return errors.New("it lives")
		}
		return nil
	})
	s.awaitAgents(t)
	late, all := heard(end.Add(100 * time.Millisecond)) // what had passed the fence may have been under way
	t.Logf("%d frames of n2 came from %s, %d of them after its lease; %d were kept back by then", all, host, late, c.Shut)
	if late > 0 || all == 0 {
		t.Errorf("%d frames of the zombie left its host", late)
	}
	audit(t, clients)
}

// cutControl keeps a host from the coordinator until the returned function is
// called; its machines' frames pass.
func (s *site) cutControl(t *testing.T, host string) (heal func()) {
	t.Helper()
	address := func(do func(l netlink.Link, a *netlink.Addr) error) {
		t.Helper()
		if err := s.Place(host).Do(func() error {
			br, err := netlink.LinkByName("br0")
			if err != nil {
				return err
			}
			a, err := netlink.ParseAddr(fmt.Sprintf("10.77.0.%s/24", host[1:]))
			if err != nil {
				return err
			}
			return do(br, a)
		}); err != nil {
			t.Error(err)
		}
	}
	address(netlink.AddrDel)
	return sync.OnceFunc(func() { address(netlink.AddrAdd) })
}

// framesOf listens at the switch for frames that come from a host in the name of
// a machine. The returned function ends that and counts them: those that came
// after an instant, and all.
func (s *site) framesOf(t *testing.T, host string, v lab.VM) func(after time.Time) (late, all int) {
	t.Helper()
	mac, err := net.ParseMAC(v.MAC)
	if err != nil {
		t.Fatal(err)
	}
	f := packetSocket(t, s.Switch().Do, "p"+host[1:])
	raw, err := f.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) {
		err = errors.Join(unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 32<<20))
	}); err != nil {
		t.Fatal(err)
	}
	var times []time.Time
	var listening sync.WaitGroup
	listening.Go(func() {
		b, control := make([]byte, 1<<16), make([]byte, 256)
		for {
			var n, oob int
			var from unix.Sockaddr
			var readErr error
			if err := raw.Read(func(fd uintptr) bool {
				n, oob, _, from, readErr = unix.Recvmsg(int(fd), b, control, 0)
				return !errors.Is(readErr, unix.EAGAIN)
			}); err != nil || readErr != nil {
				return
			}
			ll, ok := from.(*unix.SockaddrLinklayer)
			if !ok || ll.Pkttype == unix.PACKET_OUTGOING || n < 12 || !bytes.Equal(b[6:12], mac) {
				continue
			}
			times = append(times, stamp(control[:oob]))
		}
	})
	stop := sync.OnceFunc(func() {
		f.SetReadDeadline(time.Now())
		listening.Wait()
		f.Close()
	})
	t.Cleanup(stop)
	return func(after time.Time) (late, all int) {
		stop()
		for _, at := range times {
			if at.After(after) {
				late++
			}
		}
		return late, len(times)
	}
}

// stamp is when the kernel got a frame (socket(7), SO_TIMESTAMPNS).
func stamp(control []byte) time.Time {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return time.Now()
	}
	for _, m := range messages {
		if m.Header.Type == unix.SO_TIMESTAMPNS && len(m.Data) >= 16 {
			return time.Unix(int64(binary.NativeEndian.Uint64(m.Data)), int64(binary.NativeEndian.Uint64(m.Data[8:])))
		}
	}
	return time.Now()
}
