// Package repotest says by tests what every implementation of
// snapline.Repository must do, and holds one in memory and one that fails on
// demand, so that whatever uses a repository can be tested without a disk.
package repotest
