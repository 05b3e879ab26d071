// Package e2e exists so that what Snapline promises its users is tried as they
// would meet it: the real program, as separate processes, on real virtual
// machines with real gates in front of them, while things go wrong.
//
// It holds tests only. Each brings up a lab (package lab), or for the package's
// services a container with systemd, which it shares among its subtests because
// booting guests is what takes the time; they run one after the other, in the order
// of the file that lists them. They need root and what "make deps" installs; -short
// leaves them out.
package e2e
