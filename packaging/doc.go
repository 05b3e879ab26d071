// Package packaging is what a Debian package of Snapline has beside the program:
// units for systemd, example settings, and the scripts that dpkg runs. make
// package builds it; nfpm.yaml says what goes where.
package packaging
