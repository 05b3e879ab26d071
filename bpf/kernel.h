// SPDX-License-Identifier: MIT OR GPL-2.0
//
// The part of the kernel's stable eBPF interface that gate.c and fence.c use. It is
// spelled out here instead of being included from the build machine, so that
// the compiled object depends on nothing but the compiler.

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define SEC(name) __attribute__((section(name), used))
#define always_inline inline __attribute__((always_inline))

// A map's attributes are read from the BTF type of its declaration.
#define map_uint(name, value) int(*name)[value]
#define map_type(name, value) typeof(value) *name

#define BPF_MAP_TYPE_HASH 1
#define BPF_MAP_TYPE_ARRAY 2
#define BPF_MAP_TYPE_PERF_EVENT_ARRAY 4
#define BPF_MAP_TYPE_PERCPU_ARRAY 6
#define BPF_MAP_TYPE_LRU_HASH 9
#define BPF_MAP_TYPE_RINGBUF 27

#define BPF_ANY 0
#define BPF_NOEXIST 1
#define BPF_F_NO_PREALLOC 1
#define BPF_F_RECOMPUTE_CSUM 1
#define BPF_RB_AVAIL_DATA 0
#define BPF_F_CURRENT_CPU 0xffffffffULL

#define TC_ACT_UNSPEC (-1) // the same number as TCX_NEXT
#define TC_ACT_SHOT 2      // the same number as TCX_DROP

// __sk_buff is cut off behind the last field that the programs use.
struct __sk_buff {
	u32 len;
	u32 pkt_type;
	u32 mark;
	u32 not_used[2];
	u32 vlan_present;
	u32 vlan_tci;
	u32 vlan_proto;
	u32 not_used_either[11];
	u32 data;
	u32 data_end;
};

static void *(*const map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*const map_update_elem)(void *map, const void *key, const void *value, u64 flags) = (void *)2;
static long (*const skb_store_bytes)(struct __sk_buff *skb, u32 offset, const void *from, u32 len, u64 flags) = (void *)9;
static long (*const perf_event_output)(void *ctx, void *map, u64 flags, void *data, u64 size) = (void *)25;
static long (*const skb_load_bytes)(const struct __sk_buff *skb, u32 offset, void *to, u32 len) = (void *)26;
static long (*const skb_pull_data)(struct __sk_buff *skb, u32 len) = (void *)39;
static u64 (*const ktime_get_boot_ns)(void) = (void *)125;
static long (*const ringbuf_output)(void *ringbuf, void *data, u64 size, u64 flags) = (void *)130;
static void *(*const ringbuf_reserve)(void *ringbuf, u64 size, u64 flags) = (void *)131;
static void (*const ringbuf_submit)(void *data, u64 flags) = (void *)132;
static u64 (*const ringbuf_query)(void *ringbuf, u64 flags) = (void *)134;
