//go:build ignore

// SPDX-License-Identifier: MIT OR GPL-2.0
//
// The gate at one virtual machine's network edge, on all of its taps.
//
// from_vm is attached to a tap's tc ingress and sees every frame that the VM
// sends; to_vm is attached to the tap's tc egress and sees every frame on its
// way to the VM. Package rule says the same in Go, and testdata/vectors.txt in
// examples; all three change together.

#include "packet.h"

char _license[] SEC("license") = "Dual MIT/GPL";

// post is the codepoint of packets sent after the cut, set before loading.
const volatile u8 post = 0x2b;

// rules are deadlines of CLOCK_BOOTTIME in nanoseconds; 0 has always passed.
// User space replaces all by one map update. Of mark and shield each program acts
// on one only, so it does not matter which of the two it sees first.
struct rules {
	u64 mark_until;
	u64 shield_until;
	u64 record_until;
	u64 keep_until;
};

struct counters {
	u64 out;
	u64 in;
	u64 marked;
	u64 withheld;
	u64 leaked;
	u64 non_ip;
	u64 lost;        // packets that could not be recorded
	u64 lost_frames; // in transit, likewise
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

// record is what a gate remembers of a packet, see record.go.
struct record {
	u64 at;
	u64 digest;
	u8 source[16]; // IPv4: in the first four bytes
	u8 destination[16];
	u32 sequence;
	u32 acknowledgement;
	u32 timestamp;
	u32 length;
	u16 source_port;
	u16 destination_port;
	u16 id;
	u16 fragment;
	u16 window;
	u8 protocol;
	u8 flags;
	u8 version; // of IP
	u8 bits;
	u8 unused[2];
};

// bits of a record
enum { INBOUND = 1, DISCARDED = 2, MARKED = 4 };

struct {
	map_uint(type, BPF_MAP_TYPE_RINGBUF);
	map_uint(max_entries, 4 << 20);
} records SEC(".maps");

// frame_head stands before a recorded frame.
struct frame_head {
	u64 at;
	u32 length; // of the frame, of which FRAME_MAX bytes at the most follow
	u16 tag;    // a VLAN tag that the kernel holds outside of the frame,
	u8 tagged;  // if there is one
	u8 bits;
	u16 tag_protocol; // in network byte order
	u16 unused[3];
};

// A perf event has 16 bits for its size.
enum { FRAME_MAX = 65000 };

// frames are the packets that may have been in transit across the cut, with their
// content. Perf events, because they copy a packet of any size out of its
// fragments.
struct {
	map_uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	map_uint(max_entries, 0);
	map_type(key, u32);
	map_type(value, u32);
} frames SEC(".maps");

enum {
	PROTO_TCP = 6,
	PROTO_UDP = 17,
	PROTO_EXPERIMENT = 253, // RFC 3692: for experimentation and testing

	TCP_LEN = 20,
	TCP_WITH_TIMESTAMP = 40, // as far as a timestamp is looked for
	UDP_LEN = 8,

	DIGESTED = 128,
};

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
	u8 record;
	u8 keep;
	u64 now; // 0 when nothing depends on it
};

// read_switches compares the rules' deadlines with the kernel's clock. Reading
// that costs more than all the rest, so it is not done while all rules are off.
// The clock comes after the shield's deadline and before the mark's, so that
// what is recorded errs on the safe side when a packet races a switch: one
// that a lowered shield lets pass came after that, and one that is not marked
// yet left before.
static always_inline struct switches read_switches(const struct rules *r)
{
	u64 mark_until = *(const volatile u64 *)&r->mark_until;
	u64 shield_until = *(const volatile u64 *)&r->shield_until;
	u64 record_until = *(const volatile u64 *)&r->record_until;
	struct switches s = {};

	if (mark_until | shield_until | record_until) {
		s.now = ktime_get_boot_ns();
		mark_until = *(const volatile u64 *)&r->mark_until;
		s.mark = s.now < mark_until;
		s.shield = s.now < shield_until;
		s.record = s.now < record_until;
		s.keep = s.record && s.now < *(const volatile u64 *)&r->keep_until;
	}
	return s;
}

static always_inline u32 long_word(const u8 *p)
{
	return (u32)word(p) << 16 | word(p + 2);
}

// digest mixes the first bytes of a payload, eight at a time (a multiplication
// by 2^64 divided by the golden ratio; Knuth, The Art of Computer Programming,
// section 6.4).
static always_inline u64 digest(struct __sk_buff *skb, u32 at, u32 len)
{
	u64 words[DIGESTED / 8] = {};
	u64 sum = len;

	if (len > DIGESTED)
		len = DIGESTED;
	if (len == 0)
		return 0;
	// This changes nothing but what the verifier can see.
	asm volatile("" : "+r"(len));
	len = ((len - 1) & (DIGESTED - 1)) + 1;
	if (skb_load_bytes(skb, at, words, len))
		return 0;
#pragma unroll
	for (int i = 0; i < DIGESTED / 8; i++) {
		sum = (sum ^ words[i]) * 0x9e3779b97f4a7c15ULL;
		sum ^= sum >> 32;
	}
	return sum;
}

// describe_tcp returns the header's length.
static always_inline u32 describe_tcp(struct __sk_buff *skb, u32 at, struct record *e)
{
	u8 h[TCP_WITH_TIMESTAMP] = {};
	u32 len;

	if (skb_load_bytes(skb, at, h, TCP_LEN))
		return 0;
	e->source_port = word(h);
	e->destination_port = word(h + 2);
	e->sequence = long_word(h + 4);
	e->acknowledgement = long_word(h + 8);
	e->flags = h[13];
	e->window = word(h + 14);
	len = (h[12] >> 4) * 4;
	if (len < TCP_LEN)
		return 0;
	// RFC 7323, appendix A: NOP, NOP, timestamps; in a SYN most stacks send MSS and
	// SACK-permitted before it. Elsewhere a timestamp is not found, and not missed.
	if (len >= 32 && !skb_load_bytes(skb, at + TCP_LEN, h + TCP_LEN, 12)) {
		if (h[20] == 1 && h[21] == 1 && h[22] == 8 && h[23] == 10)
			e->timestamp = long_word(h + 24);
		else if (h[26] == 8 && h[27] == 10)
			e->timestamp = long_word(h + 28);
	}
	return len;
}

static always_inline void describe(struct __sk_buff *skb, enum carries kind, const struct packet *p, struct record *e)
{
	u8 h[IPV6_LEN] = {};
	u32 at, total, header = 0;

	if (kind == IPV4) {
		if (skb_load_bytes(skb, p->at, h, IPV4_LEN))
			return;
		e->version = 4;
		__builtin_memcpy(e->source, h + 12, 4);
		__builtin_memcpy(e->destination, h + 16, 4);
		e->id = word(h + 4);
		e->fragment = p->fragment;
		at = (h[0] & 0xf) * 4;
		total = word(h + 2);
	} else {
		if (skb_load_bytes(skb, p->at, h, IPV6_LEN))
			return;
		e->version = 6;
		__builtin_memcpy(e->source, h + 8, 16);
		__builtin_memcpy(e->destination, h + 24, 16);
		at = IPV6_LEN;
		total = word(h + 4) + IPV6_LEN;
	}
	e->protocol = p->protocol;
	// Zero: larger than the field can say, which only offloading makes.
	if (total < at || p->at + total > skb->len)
		total = skb->len - p->at;
	if (kind == IPV4 && e->fragment & 0x1fff)
		; // no transport header
	else if (p->protocol == PROTO_TCP)
		header = describe_tcp(skb, p->at + at, e);
	else if (p->protocol == PROTO_UDP && !skb_load_bytes(skb, p->at + at, h, 4)) {
		e->source_port = word(h);
		e->destination_port = word(h + 2);
		header = UDP_LEN;
	}
	at += header;
	if (total <= at)
		return;
	e->length = total - at;
	e->digest = digest(skb, p->at + at, e->length);
}

// remember records a packet of the window.
static always_inline void remember(struct __sk_buff *skb, const struct switches *on, enum carries kind,
				   const struct packet *p, u8 bits, struct counters *c)
{
	struct record *e = ringbuf_reserve(&records, sizeof(*e), 0);

	if (!e) {
		c->lost++;
		return;
	}
	__builtin_memset(e, 0, sizeof(*e));
	e->at = on->now;
	e->bits = bits;
	describe(skb, kind, p, e);
	ringbuf_submit(e, 0);
}

// worth_keeping says whether a packet on its way to the VM may be one that was
// sent before its sender's cut, and is lost by a restore unless we keep it. Those
// are the unmarked ones from this VM's cut on. When it marks no more nobody
// else needs to, and most of them were sent after the cut; then TCP, which repeats
// what is lost, is left out. A marked packet may have been sent while its sender
// was about to be cut; of these TCP is left out at once.
static always_inline int worth_keeping(const struct switches *on, const struct packet *p, u8 bits)
{
	if (p->protocol == PROTO_TCP)
		return on->mark && !(bits & MARKED);
	return on->keep || bits & MARKED;
}

// keep records a whole frame.
static always_inline void keep(struct __sk_buff *skb, const struct switches *on, u8 bits, struct counters *c)
{
	struct frame_head head = {
		.at = on->now, .length = skb->len, .bits = bits,
		.tag = skb->vlan_tci, .tagged = skb->vlan_present != 0, .tag_protocol = skb->vlan_proto,
	};
	u64 len = skb->len < FRAME_MAX ? skb->len : FRAME_MAX;

	if (perf_event_output(skb, &frames, len << 32 | BPF_F_CURRENT_CPU, &head, sizeof(head)))
		c->lost_frames++;
}

// note records a packet on its way to the VM.
static always_inline void note(struct __sk_buff *skb, const struct switches *on, enum carries kind,
			       const struct packet *p, u8 bits, struct counters *c)
{
	if (!on->record)
		return;
	remember(skb, on, kind, p, bits, c);
	if (worth_keeping(on, p, bits))
		keep(skb, on, bits, c);
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
	u8 bits = 0;

	if (!r || !c)
		return TC_ACT_SHOT; // never: both maps have one entry
	on = read_switches(r);
	if (!on.mark && !on.shield && !on.record)
		return pass(&c->out);
	kind = parse(skb, &p);
	if (kind == ARP)
		return pass(&c->out);
	if (kind == OTHER)
		return on.mark || on.shield ? drop(&c->non_ip) : pass(&c->out);
	if (on.mark) {
		// No memory to make the header writable: losing a packet is safe.
		if (set_codepoint(skb, kind, &p, post))
			return TC_ACT_SHOT;
		c->marked++;
		bits = MARKED;
	}
	if (on.record && !discovers_neighbours(skb, kind, &p))
		remember(skb, &on, kind, &p, bits, c);
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
	if (kind != OTHER && take_probe(skb, kind, &p))
		return TC_ACT_SHOT;
	on = read_switches(r);
	if (kind == OTHER)
		return on.mark || on.shield ? drop(&c->non_ip) : pass(&c->in);
	if (discovers_neighbours(skb, kind, &p))
		return pass(&c->in);
	if (codepoint(kind, &p) != post) {
		note(skb, &on, kind, &p, INBOUND, c);
		return pass(&c->in);
	}
	if (on.shield) {
		note(skb, &on, kind, &p, INBOUND | MARKED | DISCARDED, c);
		notify();
		return drop(&c->withheld);
	}
	note(skb, &on, kind, &p, INBOUND | MARKED, c);
	c->leaked++;
	return pass(&c->in);
}
