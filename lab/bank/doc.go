// Package bank exists so that the smallest damage to a distributed system's
// state shows: members move money between their accounts, and money is only
// ever moved. A snapshot that catches one member before a transfer and another
// after it creates or destroys some.
//
// Every pair of members has two flows each way. One is a TCP connection that
// is opened once and used for ever: each transfer is written to it once, and
// only TCP repeats anything. The other is UDP, where a transfer is repeated
// until it is acknowledged and the receiver throws repetitions away. Both ends
// of a flow count, sum and digest its transfers; Audit compares them from
// outside.
//
// A third kind of flow is for those who want to know whether a single packet is
// lost, or delivered twice: datagrams that nobody acknowledges or repeats. They
// need a network that loses nothing.
package bank
