package bpf

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/cilium/ebpf"

	"github.com/snapline/snapline"
)

// newFenceKernel brings a fence into the kernel, attached to nothing.
func newFenceKernel(s snapline.FenceSpec) (k fenceKernel, err error) {
	if s.Restored == 0 || s.Restored > 63 {
		return k, fmt.Errorf("codepoint %d cannot mark packets: use 1 to 63", s.Restored)
	}
	label, err := encodeOwner(s.Owner)
	if err != nil {
		return k, err
	}
	members, err := memberKeys(s.Members)
	if err != nil {
		return k, err
	}
	spec, err := loadFence()
	if err != nil {
		return k, err
	}
	if err := spec.Variables[fenceVarRestored].Set(uint8(s.Restored)); err != nil {
		return k, fmt.Errorf("set codepoint: %w", err)
	}
	objs := new(fenceObjects)
	if err := spec.LoadAndAssign(objs, nil); err != nil {
		return k, explain(err)
	}
	defer objs.FenceMembers.Close() // nobody changes it any more
	k = fenceKernel{objs.FenceRules, objs.FenceCounters, objs.FenceOwner, objs.FenceWays, objs.SnapfenceOut, objs.SnapfenceIn}
	if err := k.owner.Put(uint32(0), label); err != nil {
		return k, fmt.Errorf("note the fence's owner: %w", errors.Join(err, k.close()))
	}
	if err := k.rules.Put(uint32(0), encodeFence(s.Rules)); err != nil {
		return k, fmt.Errorf("set fence rules: %w", errors.Join(err, k.close()))
	}
	for _, m := range members {
		if err := objs.FenceMembers.Put(m, uint32(1)); err != nil {
			return k, fmt.Errorf("note members' addresses, %d of them: %w", len(members), errors.Join(err, k.close()))
		}
	}
	return k, nil
}

// Kinds of members' addresses, as in fence.c.
const (
	fromMAC  = 1
	fromIPv4 = 4
	fromIPv6 = 6
)

// memberKeys are the addresses as the program looks them up.
func memberKeys(a snapline.MemberAddresses) ([]fenceMember, error) {
	var keys []fenceMember
	for _, text := range a.MACs {
		mac, err := net.ParseMAC(text)
		if err != nil || len(mac) != 6 {
			return nil, fmt.Errorf("%q is no MAC address", text)
		}
		k := fenceMember{Kind: fromMAC}
		copy(k.Address[:], mac)
		keys = append(keys, k)
	}
	for _, ip := range a.IPs {
		k := fenceMember{Kind: fromIPv6}
		if ip = ip.Unmap(); ip.Is4() {
			k.Kind = fromIPv4
		}
		if ip == (netip.Addr{}) {
			return nil, fmt.Errorf("a member's IP address is empty")
		}
		copy(k.Address[:], ip.AsSlice())
		keys = append(keys, k)
	}
	return keys, nil
}

// encodeOwner writes JSON, filled up with zeros, into the fence's own memory: an
// agent that finds the fence has nothing else to go by.
func encodeOwner(o snapline.FenceOwner) (fenceOwner, error) {
	var label fenceOwner
	b, err := json.Marshal(o)
	if err != nil {
		return label, err
	}
	if len(b) > len(label.Label) {
		return label, fmt.Errorf("the declaration of member %s is too long for a fence's label: %d bytes, %d are there", o.Member.Name, len(b), len(label.Label))
	}
	copy(label.Label[:], b)
	return label, nil
}

func decodeOwner(m *ebpf.Map) (o snapline.FenceOwner, err error) {
	var label fenceOwner
	if err := m.Lookup(uint32(0), &label); err != nil {
		return o, err
	}
	b := label.Label[:]
	for len(b) > 0 && b[len(b)-1] == 0 {
		b = b[:len(b)-1]
	}
	err = json.Unmarshal(b, &o)
	return o, err
}
