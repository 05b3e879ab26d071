// Package lab exists so that Snapline can be tried and tested on one machine:
// several hosts as network namespaces, real virtual machines with a real
// workload, and everything gone again afterwards.
//
// It knows nothing of how snapshots are made. It starts each virtual machine
// as a user's own script would (run-n1.sh in the lab's folder is that script),
// and coordinator and agents as processes of the snapline program.
package lab
