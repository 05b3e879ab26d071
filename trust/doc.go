// Package trust exists because an agent runs as root and can kill virtual
// machines: nothing may tell it to without a name that was vouched for.
//
// A cluster has one certificate authority (CA), made once. A certificate says
// who somebody is, nothing else: its subject is OU=KIND, CN=NAME. What they may
// do, and whether they still may, is in the Authority's register, which lists
// every certificate that is good. So one that was revoked, or replaced, or that
// the register has never heard of, ends at once.
//
// Names of machines play no part: whoever has a coordinator's certificate of
// this CA is a coordinator, at whatever address. A host joins by a Token, which
// carries the CA's fingerprint, so that the agent knows the coordinator before
// it says anything.
package trust
