//go:build ignore

// SPDX-License-Identifier: MIT OR GPL-2.0
//
// The fence at one virtual machine's network edge, on all of its taps: where a
// gate stands for the moments of a round, a fence stands for as long as its
// machine must not speak to everybody. It outlives the agent that has raised it.
//
// snapfence_out is attached to a tap's tc ingress and sees every frame that the
// VM sends; snapfence_in is attached to the tap's tc egress and sees every frame
// on its way to the VM. Package rule says the same in Go, and
// testdata/fence.txt in examples; all three change together.

#include "packet.h"

char _license[] SEC("license") = "Dual MIT/GPL";

// restored is the codepoint of members in quarantine, set before loading.
const volatile u8 restored = 0x2f;

// ALWAYS is the deadline that never passes, snapline.Always.
#define ALWAYS 0x7fffffffffffffffULL

// DELIVERED is the mark of packets in transit that a restore delivers: of the old
// timeline, and wanted. It is of this host only, and not in package rule, which
// sees frames. See deliver.go.
#define DELIVERED 0x736e6170

// rules are deadlines of CLOCK_BOOTTIME in nanoseconds; 0 has always passed.
struct rules {
	u64 open_until;     // frames pass at all
	u64 restored_until; // what leaves is marked
	u64 refuse_until;   // what members send must be marked
	u64 hushed_until;   // nothing leaves
};

struct counters {
	u64 shut;     // frames that did not pass, shut in either direction or hushed
	u64 restored; // packets marked
	u64 refused;  // frames of the old timeline that did not reach the VM
	u64 unnoted;  // packets under a lease for whose addresses there was no room
};

// owner says whose fence it is, for an agent that finds it: see fence_load.go.
struct owner {
	u8 label[1024];
};

// member is an address of a member of the group.
struct member {
	u8 address[16];
	u32 kind; // FROM_...
};

enum { FROM_MAC = 1, FROM_IPV4 = 4, FROM_IPV6 = 6 };

// way is between which addresses packets go, IPv4's in the first four bytes.
struct way {
	u8 from[16];
	u8 to[16];
	u32 kind; // FROM_IPV4 or FROM_IPV6
};

struct {
	map_uint(type, BPF_MAP_TYPE_ARRAY);
	map_uint(max_entries, 1);
	map_type(key, u32);
	map_type(value, struct rules);
} fence_rules SEC(".maps");

struct {
	map_uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	map_uint(max_entries, 1);
	map_type(key, u32);
	map_type(value, struct counters);
} fence_counters SEC(".maps");

struct {
	map_uint(type, BPF_MAP_TYPE_ARRAY);
	map_uint(max_entries, 1);
	map_type(key, u32);
	map_type(value, struct owner);
} fence_owner SEC(".maps");

struct {
	map_uint(type, BPF_MAP_TYPE_HASH);
	map_uint(map_flags, BPF_F_NO_PREALLOC);
	map_uint(max_entries, 4096);
	map_type(key, struct member);
	map_type(value, u32);
} fence_members SEC(".maps");

// fence_ways holds when the last packet left on each way. Nobody falls out: an
// agent takes out what it has told, and unnoted counts what finds no room. The
// size is snapline.MaxWays.
struct {
	map_uint(type, BPF_MAP_TYPE_HASH);
	map_uint(max_entries, 2048);
	map_type(key, struct way);
	map_type(value, u64);
} fence_ways SEC(".maps");

struct fence {
	u64 leased; // now, if the lease is running; 0 otherwise
	u8 shut;
	u8 restored;
	u8 refuse;
	u8 hushed;
};

// read_rules compares the deadlines with the kernel's clock, unless there is none
// to compare with.
static always_inline struct fence read_rules(const struct rules *r)
{
	u64 open_until = *(const volatile u64 *)&r->open_until;
	u64 restored_until = *(const volatile u64 *)&r->restored_until;
	u64 refuse_until = *(const volatile u64 *)&r->refuse_until;
	u64 hushed_until = *(const volatile u64 *)&r->hushed_until;
	struct fence f = {};
	u64 now;

	if (open_until == ALWAYS && !(restored_until | refuse_until | hushed_until))
		return f;
	now = ktime_get_boot_ns();
	f.shut = open_until != ALWAYS && now >= open_until;
	f.leased = open_until != ALWAYS && !f.shut ? now : 0;
	f.restored = now < restored_until;
	f.refuse = now < refuse_until;
	f.hushed = now < hushed_until;
	return f;
}

static always_inline int is_member(const struct member *m)
{
	return map_lookup_elem(&fence_members, m) != 0;
}

// from_member recognises a member by its MAC address, which is certain on one
// segment, or by its IP address, which a router leaves alone.
static always_inline int from_member(struct __sk_buff *skb, enum carries kind, const struct packet *p)
{
	struct member m = { .kind = FROM_MAC };

	if (skb_load_bytes(skb, 6, m.address, 6))
		return 0; // no whole Ethernet header: nobody's
	if (is_member(&m))
		return 1;
	if (kind == IPV4) {
		m.kind = FROM_IPV4;
		__builtin_memset(m.address, 0, sizeof(m.address));
		if (skb_load_bytes(skb, p->at + 12, m.address, 4))
			return 0;
		return is_member(&m);
	}
	if (kind == IPV6) {
		m.kind = FROM_IPV6;
		if (skb_load_bytes(skb, p->at + 8, m.address, 16))
			return 0;
		return is_member(&m);
	}
	return 0;
}

// note remembers that a packet leaves on its way now. What has passed before goes
// a shorter one: a lookup, and a write in place.
static always_inline void note(struct __sk_buff *skb, enum carries kind, const struct packet *p, struct counters *c, u64 now)
{
	struct way w = {};
	u8 copy[8];
	const u8 *both;
	u64 *last;

	if (kind == IPV4) {
		both = bytes(skb, p->at + 12, sizeof(copy), copy);
		if (!both)
			return; // never: it has a whole header
		w.kind = FROM_IPV4;
		__builtin_memcpy(w.from, both, 4);
		__builtin_memcpy(w.to, both + 4, 4);
	} else {
		w.kind = FROM_IPV6;
		if (skb_load_bytes(skb, p->at + 8, &w, 32))
			return; // never
	}
	last = map_lookup_elem(&fence_ways, &w);
	if (last)
		*last = now;
	else if (map_update_elem(&fence_ways, &w, &now, BPF_ANY))
		c->unnoted++;
}

SEC("tc")
int snapfence_out(struct __sk_buff *skb)
{
	u32 only = 0;
	struct rules *r = map_lookup_elem(&fence_rules, &only);
	struct counters *c;
	struct fence on;
	struct packet p = {}; // whole, so that the compiler may keep any part of it
	enum carries kind;

	if (!r)
		return TC_ACT_SHOT; // never: the map has one entry
	on = read_rules(r);
	if (!on.shut && !on.hushed && !on.restored && !on.leased)
		return TC_ACT_UNSPEC;
	c = map_lookup_elem(&fence_counters, &only);
	if (!c)
		return TC_ACT_SHOT; // never
	// A program holds the maps that it mentions, and this one must hold its owner.
	asm volatile("" : : "r"(&fence_owner));
	if (on.shut || on.hushed)
		return drop(&c->shut);
	kind = parse(skb, &p);
	if (kind != IPV4 && kind != IPV6)
		return TC_ACT_UNSPEC;
	if (on.leased && !discovers_neighbours(skb, kind, &p))
		note(skb, kind, &p, c, on.leased);
	if (!on.restored)
		return TC_ACT_UNSPEC;
	// No memory to make the header writable: losing a packet is safe.
	if (set_codepoint(skb, kind, &p, restored))
		return TC_ACT_SHOT;
	return pass(&c->restored);
}

SEC("tc")
int snapfence_in(struct __sk_buff *skb)
{
	u32 only = 0;
	struct rules *r = map_lookup_elem(&fence_rules, &only);
	struct counters *c;
	struct fence on;
	struct packet p;
	enum carries kind;

	if (!r)
		return TC_ACT_SHOT; // never: the map has one entry
	on = read_rules(r);
	if (!on.shut && !on.refuse)
		return TC_ACT_UNSPEC;
	c = map_lookup_elem(&fence_counters, &only);
	if (!c)
		return TC_ACT_SHOT; // never
	if (on.shut)
		return drop(&c->shut);
	if (skb->mark == DELIVERED)
		return TC_ACT_UNSPEC;
	kind = parse(skb, &p);
	if (kind == ARP || discovers_neighbours(skb, kind, &p))
		return TC_ACT_UNSPEC;
	if (kind != OTHER && codepoint(kind, &p) == restored)
		return TC_ACT_UNSPEC;
	if (!from_member(skb, kind, &p))
		return TC_ACT_UNSPEC;
	return drop(&c->refused);
}
