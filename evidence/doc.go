// Package evidence lets a snapshot prove itself: from what the members' gates
// have recorded while the cut was made, it decides whether a member's state can
// hold the receipt of a packet whose sending is in no member's state. It knows
// nothing of colours, shields and phases, so it can find their errors.
//
// # What is compared
//
// A sending counts as before its sender's cut only if At < CutBegan, a receipt
// as after its receiver's cut only if At >= CutEnded. The instant itself lies
// between: whatever is in doubt is taken for the worse. A receipt that a gate
// has withheld did not happen. Instants are compared with others of the same
// member, or of the same host, only.
//
// A receipt before the cut is harmless if a sending before the cut explains it.
// An orphan is one that only sendings after the cut explain.
//
// # When two records are of one packet
//
// Marking changes the DSCP, which no record holds. Segmentation offload, in
// either direction, changes where a TCP packet begins and ends, counts the IP
// ID up, and moves FIN, PSH and CWR; all else stays. So TCP is compared by
// flow, acknowledgement, window, timestamp and the other flags, and within those
// by sequence numbers: a receipt is explained when sendings before the cut cover
// all of its numbers, and is an orphan when a sending after the cut covers any of
// what is left. Fragments of IPv4 are compared one by one, and by their bytes'
// places with the packet that a router has cut or a host has put together.
// Everything else is compared by addresses, length and digest. Where the IP IDs
// can be those of one packet, only such sendings are considered. Where none can,
// any sending before the cut that agrees in all else is accepted, in case a
// middlebox has changed the ID: its content is the same.
//
// Sendings are looked for at all members, whatever address they claim.
//
// # Why an equal packet explains
//
// If a packet with the same content was sent before the cut, the receiver could
// as well have received that one: networks duplicate and delay, and no bit of
// the receiver's state tells the difference. The state is one of an execution in
// which the cut is consistent. A TCP retransmission is another content: it
// acknowledges what its sender has received by then, so it has to be explained by
// itself. What no record holds: TCP options but the timestamp, so that
// acknowledgements that differ in nothing but SACK blocks, and have no IP IDs,
// count as equal. SACK is advice (RFC 2018 section 8); it holds no promise that a
// restore could break.
//
// Outside of TCP a digest covers the first snapline.DigestedBytes only. When longer
// packets look the same, and have no IP IDs to tell them apart, each of their
// receipts before the cut needs a proof of those that the next section names.
//
// # Receipts without a recorded sending
//
// Each gate records from before its own member's cut until after all cuts, and
// counts what it cannot record. If all that is true, a receipt before the cut
// without a record was sent before the recording began, and all is well. But the
// same is seen where a gate has died, or where a packet has been changed beyond
// recognition. Such a receipt is accepted only if one of these proves that it was
// sent before its sender's cut:
//
//   - It was received, by a chain of messages or by one host's clock, before the
//     sender's cut began (Lamport's happened-before): say, the sender had got a
//     later packet of the receiver by then. The sending is earlier still.
//   - The sender sent a packet of the same TCP connection, before its cut, with a
//     later timestamp or acknowledgement. Neither ever goes back.
//
// Every member that uses the receipt's source address must pass. Otherwise the cut
// is unproven. A receipt after the cut needs no explanation.
//
// A member's addresses are those that the caller names, those that its VM sends
// from, and, where nobody sends from them, those that it receives others' packets
// at. Every other address is outside the group: Report.Peers names it, and nothing
// is concluded from its packets. NAT between members would put them outside; the
// probes of the paths refuse it before.
//
// # What the verdict relies on
//
// That a gate's record of what it let through to its VM is complete, or Lost is
// above zero; that a gate sees all of a VM's packets; and that traces are not
// forged. A digest is good against chance only: members that want to deceive can.
//
// # The channel
//
// From the same records, and the packets that the gates have kept whole, comes the
// channel: what had been sent before and not been received. See Channel. No
// verdict depends on it.
//
// # The format of a trace
//
// Encode writes the eight bytes "SNAPTRC1", the last one being the version, and
// one zstd frame (RFC 8878) of what follows. u is an unsigned and s a signed
// varint as in Protocol Buffers (s zigzag), both of up to 64 bits.
//
//	u n, n bytes           member
//	u n, n bytes           host
//	s s s s                CutBegan, CutEnded, Paused, Resumed, nanoseconds
//	u                      Lost
//	u n, then n times:     addresses
//	  1 byte, bytes          4 or 16, and as many bytes; or 0
//	u n, then n times:     flows, each of one direction
//	  1 byte                 IP protocol
//	  u u                    source: index of an address, port
//	  u u                    destination, likewise
//	u n                    packets; then columns of n values each:
//	  s                      At, less that of the packet before (of 0 at first)
//	  1 byte                 1 inbound, 2 withheld, 4 marked
//	  u                      index of its flow
//	  1 byte                 TCP flags, XOR those before
//	  u                      Length
//	  s                      ID, less that before, 16 bits
//	  u                      Fragment, XOR that before
//	  s                      Sequence, less what was expected, 32 bits
//	  s                      Acknowledgement, less what was expected, 32 bits
//	  s                      Timestamp, less that before, 32 bits
//	  s                      Window, less that before, 16 bits
//	  8 bytes                Digest, little-endian; only of packets with Length > 0
//
// "Before" is in the packet before of the same flow, 0 at first. Differences wrap
// around at their number of bits. The expected Sequence is the one before plus
// its packet's Length, and one each for SYN and FIN. The expected Acknowledgement
// is the expected Sequence of the reverse flow, if that has had a packet; otherwise
// the one before. Nothing follows the last column.
package evidence
