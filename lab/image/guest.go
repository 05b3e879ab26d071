package image

import (
	"fmt"
	"strings"
	"time"
)

// Role is what a guest does once it is up.
type Role string

const (
	Etcd      Role = "etcd"      // a member of an etcd cluster
	Bank      Role = "bank"      // a member of the bank workload
	Datagrams Role = "datagrams" // the same, with flows that nobody acknowledges
	Bench     Role = "bench"     // the bank's program, idle until told to ping or to write memory
	Idle      Role = "idle"      // nothing
)

// Guest is what one guest is told on its kernel command line.
type Guest struct {
	Role Role
	Name string
	// Address is an IPv4 address with prefix length, 10.77.0.11/24.
	Address string
	// Peers are all members of the workload, this one included.
	Peers []Peer
	// Token makes one etcd cluster's ids differ from another's of the same
	// members and addresses.
	Token string
	// Heartbeat and Election are etcd's timeouts; zero leaves the image's own.
	Heartbeat, Election time.Duration
	// IPv6 leaves the guest's IPv6 on.
	IPv6 bool
}

// Peer is a member's name and address (without prefix length).
type Peer struct{ Name, Address string }

// Append is the kernel command line: QEMU's -append.
func (g Guest) Append() string {
	words := []string{"console=ttyS0", "quiet", "panic=-1"}
	if !g.IPv6 {
		words = append(words, "ipv6.disable=1")
	}
	words = append(words, "snapline.role="+string(g.Role), "snapline.name="+g.Name)
	if g.Address != "" {
		words = append(words, "snapline.ip="+g.Address)
	}
	if len(g.Peers) > 0 {
		var peers []string
		for _, p := range g.Peers {
			peers = append(peers, p.Name+"="+p.Address)
		}
		words = append(words, "snapline.peers="+strings.Join(peers, ","))
	}
	if g.Token != "" {
		words = append(words, "snapline.token="+g.Token)
	}
	if g.Heartbeat > 0 {
		words = append(words, fmt.Sprintf("snapline.heartbeat=%d", g.Heartbeat.Milliseconds()))
	}
	if g.Election > 0 {
		words = append(words, fmt.Sprintf("snapline.election=%d", g.Election.Milliseconds()))
	}
	return strings.Join(words, " ")
}
