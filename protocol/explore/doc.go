// Package explore visits every state that one round of the real machines of
// package protocol can come to, so that what the argument of docs/PROTOCOL.md
// claims is also counted. Package sim draws long histories with a great deal of
// trouble in each; here there is little trouble, but all orders of it.
//
// The search is breadth-first over cloned states, so the trace of a violation
// is a shortest one. A state is the machines, the messages under way, the work
// that members have begun, gates and VMs, pending timers, and what is left of
// the budgets of trouble. These abstractions keep it finite, each of them wider
// than the world, unless it says otherwise:
//
//   - The effects of one step are executed at once, or up to a crash after any of
//     them: what others do in between commutes with the delivery of what follows.
//   - VMs talk all the time, and the data network loses, delays and repeats as it
//     likes: a packet of each kind that a VM has ever sent can always arrive.
//   - Time passes in whole seconds; Da and Dc are one, Dg is three. All clocks
//     agree (narrower: clocks that drift are the simulation's).
//   - Members are alike: of states that differ in which one is which only, one is
//     explored. So a coordinator that dies while it addresses them may have begun
//     with any.
//   - Timers that only make somebody impatient ring when nothing else is under
//     way, or early within a budget (narrower). Da, Dc and Dg are never early, and
//     may be noticed arbitrarily late.
package explore
