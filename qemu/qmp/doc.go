// Package qmp exists because a snapshot is driven over QEMU's monitor and its
// timing is read from the monitor's events: it is a small typed client that
// delivers every event in order, passes file descriptors and notices at once
// when the connection dies. The protocol is QEMU's docs/interop/qmp-spec.
package qmp
