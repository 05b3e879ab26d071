// Package cmdline exists because a virtual machine that somebody else started
// is started again from its own command line: it reads QEMU's options, says
// what in them cannot be repeated, and rewrites those that must change on the
// way to another process or host. It is pure: no files, no processes. The
// syntax is that of QEMU's qemu-options.def and docs/devel/qapi-code-gen
// ("keyval").
package cmdline
