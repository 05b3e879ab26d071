//go:build ignore

// SPDX-License-Identifier: MIT OR GPL-2.0
//
// The gate at one virtual machine's network edge, on all of its taps.
//
// from_vm is attached to a tap's tc ingress and sees every frame that the VM
// sends; to_vm is attached to the tap's tc egress and sees every frame on its
// way to the VM. Package rule says the same in Go, and testdata/vectors.txt in
// examples; all three change together.
//
// Headers are read in place where the socket buffer holds them in one piece, and
// by copy where it does not; neither needs memory.

#include "kernel.h"

char _license[] SEC("license") = "Dual MIT/GPL";

// post is the codepoint of packets sent after the cut, set before loading.
const volatile u8 post = 0x2b;

// rules are deadlines of CLOCK_BOOTTIME in nanoseconds; 0 has always passed.
// User space replaces both by one map update. Each program acts on one of
// them only, so it does not matter which of the two it sees first.
struct rules {
	u64 mark_until;
	u64 shield_until;
};

struct counters {
	u64 out;
	u64 in;
	u64 marked;
	u64 withheld;
	u64 leaked;
	u64 non_ip;
};

struct probe {
	u64 nonce;
	u32 sender;
	u32 unused;
};

struct {
	map_uint(type, BPF_MAP_TYPE_ARRAY);
	map_uint(max_entries, 1);
	map_type(key, u32);
	map_type(value, struct rules);
} rules SEC(".maps");

struct {
	map_uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	map_uint(max_entries, 1);
	map_type(key, u32);
	map_type(value, struct counters);
} counters SEC(".maps");

// probes keeps the codepoint that each probe still had when it arrived. LRU:
// whoever floods it with forged probes makes paths look unprobed, not clean.
struct {
	map_uint(type, BPF_MAP_TYPE_LRU_HASH);
	map_uint(max_entries, 4096);
	map_type(key, struct probe);
	map_type(value, u32);
} probes SEC(".maps");

// notices wakes user space when the shield has withheld a packet.
struct {
	map_uint(type, BPF_MAP_TYPE_RINGBUF);
	map_uint(max_entries, 4096);
} notices SEC(".maps");

enum carries { ARP, IPV4, IPV6, OTHER };

enum {
	ETHERTYPE_OFFSET = 12,
	// Beside these the kernel may hold one more tag outside of the frame.
	TAGS_MAX = 2,

	ETHERTYPE_IPV4 = 0x0800,
	ETHERTYPE_ARP = 0x0806,
	ETHERTYPE_CTAG = 0x8100,
	ETHERTYPE_IPV6 = 0x86dd,
	ETHERTYPE_STAG = 0x88a8,

	PROTO_ICMPV6 = 58,
	PROTO_EXPERIMENT = 253, // RFC 3692: for experimentation and testing

	IPV4_LEN = 20,
	IPV6_LEN = 40,
};

// packet is what the gate needs of an IP header.
struct packet {
	u32 at;       // offset of the header in the frame
	u16 first;    // its first two bytes
	u16 fragment; // IPv4: flags and offset
	u16 checksum; // IPv4
	u8 protocol;
	u8 hops;      // IPv6
};

static always_inline u16 word(const u8 *p)
{
	return p[0] << 8 | p[1];
}

// bytes returns len bytes of the frame, in place or as a copy, or 0 when the
// frame ends before.
static always_inline const u8 *bytes(struct __sk_buff *skb, u32 at, u32 len, u8 *copy)
{
	const u8 *data = (const u8 *)(unsigned long)skb->data;
	const u8 *end = (const u8 *)(unsigned long)skb->data_end;

	if (data + at + len <= end)
		return data + at;
	return skb_load_bytes(skb, at, copy, len) ? 0 : copy;
}

static always_inline enum carries parse_ipv4(struct __sk_buff *skb, struct packet *p)
{
	u8 copy[IPV4_LEN];
	const u8 *ip = bytes(skb, p->at, IPV4_LEN, copy);
	u32 len;

	if (!ip)
		return OTHER;
	len = (ip[0] & 0xf) * 4;
	if (ip[0] >> 4 != 4 || len < IPV4_LEN || p->at + len > skb->len)
		return OTHER;
	p->first = word(ip);
	p->fragment = word(ip + 6);
	p->protocol = ip[9];
	p->checksum = word(ip + 10);
	return IPV4;
}

static always_inline enum carries parse_ipv6(struct __sk_buff *skb, struct packet *p)
{
	u8 copy[IPV6_LEN];
	const u8 *ip = bytes(skb, p->at, IPV6_LEN, copy);

	if (!ip || ip[0] >> 4 != 6)
		return OTHER;
	p->first = word(ip);
	p->protocol = ip[6];
	p->hops = ip[7];
	return IPV6;
}

// parse says what a frame carries behind its VLAN tags. A frame that claims to
// be IP but has no whole header is OTHER: it cannot carry a mark.
static always_inline enum carries parse(struct __sk_buff *skb, struct packet *p)
{
	u16 ethertype = 0;
	u8 copy[2];

	p->at = ETHERTYPE_OFFSET;
#pragma unroll
	for (int tags = 0; tags <= TAGS_MAX; tags++) {
		const u8 *type = bytes(skb, p->at, sizeof(copy), copy);

		if (!type)
			return OTHER;
		ethertype = word(type);
		p->at += 2;
		if (ethertype != ETHERTYPE_CTAG && ethertype != ETHERTYPE_STAG)
			break;
		p->at += 2;
	}
	switch (ethertype) {
	case ETHERTYPE_ARP:
		return ARP;
	case ETHERTYPE_IPV4:
		return parse_ipv4(skb, p);
	case ETHERTYPE_IPV6:
		return parse_ipv6(skb, p);
	}
	return OTHER;
}

static always_inline u8 codepoint(enum carries kind, const struct packet *p)
{
	return (kind == IPV4 ? p->first >> 2 : p->first >> 6) & 0x3f;
}

// writable returns len bytes of the frame to be changed in place, or 0 when there
// is no memory to bring them together. Because the program writes in place at
// all, the verifier begins it with a check that makes a shared header its own.
static always_inline u8 *writable(struct __sk_buff *skb, u32 at, u32 len)
{
	u8 *data = (u8 *)(unsigned long)skb->data;

	if (data + at + len > (u8 *)(unsigned long)skb->data_end) {
		if (skb_pull_data(skb, at + len))
			return 0;
		data = (u8 *)(unsigned long)skb->data;
		if (data + at + len > (u8 *)(unsigned long)skb->data_end)
			return 0;
	}
	return data + at;
}

// mark_ipv4 sets the codepoint, keeps the ECN bits and updates the header
// checksum incrementally (RFC 1624), so that a wrong one stays wrong. The sum
// over the header stays zero, so skb->csum, if there is one, stays true.
static always_inline long mark_ipv4(struct __sk_buff *skb, const struct packet *p)
{
	u16 first = (p->first & 0xff03) | post << 2;
	u32 sum = (u16)~p->checksum + (u16)~p->first + first;
	u8 *ip = writable(skb, p->at, IPV4_LEN);

	if (!ip)
		return -1;
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	ip[1] = first;
	ip[10] = ~sum >> 8;
	ip[11] = ~sum;
	return 0;
}

// mark_ipv6 leaves the writing to the helper, which corrects skb->csum: IPv6 has
// no header checksum that would even it out.
static always_inline long mark_ipv6(struct __sk_buff *skb, const struct packet *p)
{
	u16 first = (p->first & 0xf03f) | post << 6;
	u8 new[2] = { first >> 8, first };

	return skb_store_bytes(skb, p->at, new, sizeof(new), BPF_F_RECOMPUTE_CSUM);
}

// discovers_neighbours recognises IPv6 neighbour discovery (RFC 4861: ICMPv6
// types 133 to 137, always with hop limit 255). Like ARP it carries no
// application's state.
static always_inline int discovers_neighbours(struct __sk_buff *skb, enum carries kind, const struct packet *p)
{
	u8 type;

	if (kind != IPV6 || p->protocol != PROTO_ICMPV6 || p->hops != 255)
		return 0;
	if (skb_load_bytes(skb, p->at + IPV6_LEN, &type, sizeof(type)))
		return 0;
	return type >= 133 && type <= 137;
}

// arriving_probe is the payload of a probe, see probe.go.
struct arriving_probe {
	u8 magic[8];
	u8 nonce[8];
	u8 sender[4];
};

// take_probe records a probe and says whether the packet was one. Of several
// probes of one sender, one that has lost its mark is remembered over one that
// has not: a path is as good as its worst probe.
static always_inline int take_probe(struct __sk_buff *skb, enum carries kind, const struct packet *p)
{
	struct arriving_probe a;
	struct probe key = {};
	u32 seen;

	if (kind != IPV4 || p->protocol != PROTO_EXPERIMENT || p->first >> 8 != 0x45 || p->fragment & 0x3fff)
		return 0;
	if (skb_load_bytes(skb, p->at + IPV4_LEN, &a, sizeof(a)))
		return 0;
	if (a.magic[0] != 's' || a.magic[1] != 'n' || a.magic[2] != 'a' || a.magic[3] != 'p' ||
	    a.magic[4] != 'l' || a.magic[5] != 'i' || a.magic[6] != 'n' || a.magic[7] != 'e')
		return 0;
	key.nonce = (u64)word(a.nonce) << 48 | (u64)word(a.nonce + 2) << 32 |
		    (u64)word(a.nonce + 4) << 16 | word(a.nonce + 6);
	key.sender = (u32)word(a.sender) << 16 | word(a.sender + 2);
	seen = codepoint(kind, p);
	map_update_elem(&probes, &key, &seen, seen == post ? BPF_NOEXIST : BPF_ANY);
	return 1;
}

// notify leaves at most one notice that user space has not fetched. That is
// enough: it fetches the notice before it tells anybody.
static always_inline void notify(void)
{
	u64 notice = 1;

	if (ringbuf_query(&notices, BPF_RB_AVAIL_DATA) == 0)
		ringbuf_output(&notices, &notice, sizeof(notice), 0);
}

struct switches {
	u8 mark;
	u8 shield;
};

// read_switches compares the rules' deadlines with the kernel's clock. Reading
// that costs more than all the rest, so it is done for no packet whose fate does
// not depend on it.
static always_inline struct switches read_switches(const struct rules *r)
{
	u64 mark_until = *(const volatile u64 *)&r->mark_until;
	u64 shield_until = *(const volatile u64 *)&r->shield_until;
	struct switches s = {};
	u64 now;

	if (mark_until | shield_until) {
		now = ktime_get_boot_ns();
		s.mark = now < mark_until;
		s.shield = now < shield_until;
	}
	return s;
}

static always_inline int pass(u64 *counter)
{
	(*counter)++;
	return TC_ACT_UNSPEC; // on to whatever else is attached to the interface
}

static always_inline int drop(u64 *counter)
{
	(*counter)++;
	return TC_ACT_SHOT;
}

SEC("tc")
int from_vm(struct __sk_buff *skb)
{
	u32 only = 0;
	struct rules *r = map_lookup_elem(&rules, &only);
	struct counters *c = map_lookup_elem(&counters, &only);
	struct switches on;
	struct packet p;
	enum carries kind;

	if (!r || !c)
		return TC_ACT_SHOT; // never: both maps have one entry
	on = read_switches(r);
	if (!on.mark && !on.shield)
		return pass(&c->out);
	kind = parse(skb, &p);
	if (kind == ARP)
		return pass(&c->out);
	if (kind == OTHER)
		return drop(&c->non_ip);
	if (on.mark) {
		// No memory to make the header writable: losing a packet is safe.
		if (kind == IPV4 ? mark_ipv4(skb, &p) : mark_ipv6(skb, &p))
			return TC_ACT_SHOT;
		c->marked++;
	}
	return pass(&c->out);
}

SEC("tc")
int to_vm(struct __sk_buff *skb)
{
	u32 only = 0;
	struct rules *r = map_lookup_elem(&rules, &only);
	struct counters *c = map_lookup_elem(&counters, &only);
	struct switches on;
	struct packet p;
	enum carries kind;

	if (!r || !c)
		return TC_ACT_SHOT; // never: both maps have one entry
	kind = parse(skb, &p);
	if (kind == ARP)
		return pass(&c->in);
	if (kind != OTHER) {
		if (take_probe(skb, kind, &p))
			return TC_ACT_SHOT;
		if (codepoint(kind, &p) != post || discovers_neighbours(skb, kind, &p))
			return pass(&c->in);
	}
	on = read_switches(r);
	if (kind == OTHER)
		return on.mark || on.shield ? drop(&c->non_ip) : pass(&c->in);
	if (on.shield) {
		notify();
		return drop(&c->withheld);
	}
	c->leaked++;
	return pass(&c->in);
}
