// Package image exists so that a guest which boots in seconds can be made from
// Debian's unmodified packages, without mounts, chroots or an image builder:
// it reads the files it needs straight out of the .debs and packs them into an
// initramfs beside Debian's cloud kernel.
//
// The guest's /init (init.sh) takes what it is to be from the kernel's command
// line; Guest.Append writes that line.
package image
