// Package bpf exists to colour packets at a virtual machine's edge without a
// virtual network of our own: it puts an eBPF program on both directions of
// every tap of the machine while a snapshot is being taken, and none at all
// otherwise. Beside such a gate there are fences, see below.
//
// gate.c is the program, package rule the same in Go. What the two agree on,
// in words:
//
//   - mark: every IPv4 and IPv6 packet leaving gets the POST codepoint; its ECN
//     bits stay. Behind up to two VLAN tags (three when one is offloaded).
//   - shield: packets arriving with the POST codepoint are withheld.
//   - ARP always passes, and so does IPv6 neighbour discovery on its way in,
//     marked or not (RFC 4861: ICMPv6 133 to 137 with hop limit 255): it carries
//     no application's state, and withholding it costs connectivity for seconds.
//   - Any other frame, and IP without a whole header, cannot carry a mark: it is
//     withheld in both directions while either switch is on.
//   - Probes are taken out of the traffic whatever the switches say.
//
// The program itself compares the deadlines with CLOCK_BOOTTIME
// (bpf_ktime_get_boot_ns), so rules end on time when this process has died.
//
// # Where in the path
//
// from_vm stands at the tap's tc ingress, to_vm at its tc egress; both are put
// in front of programs that are already there. A program before us could say
// "accept" and so carry a packet around the gate, unmarked or unshielded; first
// in line, the gate sees everything. What it passes goes on to the others
// (TCX_NEXT). A program behind us on the same tap that rewrites DSCP would
// undo the mark; the probes do not see that, because they enter at the bridge.
//
// # Fences
//
// fence.c is a second pair of programs, with a life of its own: it stands for as
// long as a machine must not speak to everybody, and its rules are deadlines too.
//
//   - shut: once its lease has run out no frame passes, of whatever kind, in
//     either direction.
//   - quarantine: IP packets leaving get the RESTORED codepoint; what arrives from
//     a member's address without it is refused. ARP and neighbour discovery pass.
//   - hush: until its deadline no frame leaves, of whatever kind; what arrives does.
//
// A fence must hold when its agent is frozen, or dead. By tcx it is attached
// without a link, so that it stays until somebody detaches it or the tap goes;
// nothing is pinned anywhere. Whose it is is in a map of its own, and Standing
// finds it by looking at what is attached.
//
// Needs Linux 5.8 (ring buffer, boot clock), CAP_BPF and CAP_NET_ADMIN. From
// 6.6 the programs are attached by tcx, before by a clsact filter.
package bpf
