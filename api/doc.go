// Package api exists so that everything a coordinator can do is reachable over
// HTTP, by our own command line and by anybody else's program, with one
// contract: the Service interface on both ends of the wire.
//
// Server puts a Service behind HTTP and an OpenAPI 3.1 document; Client is
// a Service that speaks to it. The package holds no behaviour of its own
// beyond carrying requests, results, errors and progress without loss.
package api
