package main

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"github.com/snapline/snapline/lab/topology"
)

// unplug cuts a host off from everybody, its machines too.
func (s *site) unplug(host string) (cure, error) {
	ns := s.lab.Place(host)
	return cure{healCut, func(context.Context) error { return ns.Plug() }}, ns.Unplug()
}

// allow takes this program's firewall table away, if there is one; refuse
// cuts a host off from the coordinator. What its bridge forwards for the machines
// does not come by there.
const (
	allow  = "add table inet chaos\ndelete table inet chaos\n"
	refuse = "table inet chaos {\n" +
		"\tchain in { type filter hook input priority 0; ip saddr " + topology.SwitchAddress + " drop; }\n" +
		"\tchain out { type filter hook output priority 0; ip daddr " + topology.SwitchAddress + " drop; }\n}\n"
)

// cutControl cuts a host off from the coordinator alone: packets vanish, so nobody
// is told that a connection has ended.
func (s *site) cutControl(host string) (cure, error) {
	mend := func(context.Context) error { return s.firewall(host, allow) }
	return cure{healCut, mend}, s.firewall(host, allow+refuse)
}

func (s *site) firewall(host, rules string) error {
	cmd := s.lab.Place(host).Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(rules)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("nft on %s: %w: %s", host, err, bytes.TrimSpace(out))
	}
	return nil
}
