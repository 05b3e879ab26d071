// SPDX-License-Identifier: MIT OR GPL-2.0
//
// What gate.c and fence.c have in common: they look at the same frames, from the
// same place, and change their codepoints in the same way.
//
// Headers are read in place where the socket buffer holds them in one piece, and
// by copy where it does not; neither needs memory.

#include "kernel.h"

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

	IPV4_LEN = 20,
	IPV6_LEN = 40,
};

// packet is what the programs need of an IP header.
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
static always_inline long mark_ipv4(struct __sk_buff *skb, const struct packet *p, u8 colour)
{
	u16 first = (p->first & 0xff03) | colour << 2;
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
static always_inline long mark_ipv6(struct __sk_buff *skb, const struct packet *p, u8 colour)
{
	u16 first = (p->first & 0xf03f) | colour << 6;
	u8 new[2] = { first >> 8, first };

	return skb_store_bytes(skb, p->at, new, sizeof(new), BPF_F_RECOMPUTE_CSUM);
}

// set_codepoint gives the packet another codepoint, if there is memory for it.
static always_inline long set_codepoint(struct __sk_buff *skb, enum carries kind, const struct packet *p, u8 colour)
{
	return kind == IPV4 ? mark_ipv4(skb, p, colour) : mark_ipv6(skb, p, colour);
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
