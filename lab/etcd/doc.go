// Package etcd exists so that a restored etcd cluster can be told from one
// that only looks alive: it loads a cluster with writes that are all on
// record, and checks from outside that the cluster after a restore is the one
// of the cut.
//
// It speaks etcd's JSON gateway (etcd v3.4, Documentation/dev-guide/
// api_grpc_gateway.md): POST with JSON, byte strings in base64, 64-bit integers
// as decimal strings.
package etcd
