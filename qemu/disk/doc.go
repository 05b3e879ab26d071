// Package disk freezes the disks of a running QEMU at the instant of a
// snapshot, because RAM without the disks of the same moment would be a lie.
//
// An empty qcow2 overlay is made beside every writable disk and added to the
// VM (Prepare). While the VM is stopped for the snapshot, one transaction puts
// all overlays on top of their disks (Switch, about a millisecond). From then
// on the files below do not change and are read in the background (Extents);
// afterwards each overlay is committed into its file while the VM runs, and
// the VM goes back to it (Merge).
//
// A restore writes the disks back with Exchange, on backing files that
// PlaceBacking finds or makes. What it replaces is kept aside until it is clear
// that the VM runs.
//
// A journal is written before the first overlay exists, so that whatever dies
// on the way, Recover finishes or undoes it without losing a guest's write. The
// steps and what each record means are described at type step.
package disk
