// Package qemu exists so that an unmodified QEMU process, started by anybody,
// can be captured while it runs and started again elsewhere. It adopts the
// process through its QMP socket, captures RAM and device state with the
// background-snapshot migration capability (or, saying so, by stop and copy),
// and loads captures with -incoming into a machine that starts paused.
//
// A VM is never stopped without a guard: a small process that lets it run again
// when this one has died or hangs. See Guard.
package qemu
