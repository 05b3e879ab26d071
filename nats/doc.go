// Package nats connects coordinator and agents so that an installation needs no
// message broker and no database beside Snapline: it embeds a NATS server with
// JetStream in the coordinator, and implements snapline.Bus and snapline.Store
// as a client of it, or of a NATS cluster that is there already.
//
// Messages travel on subject snapline.msg.FROM.TO, questions on
// snapline.ask.FROM.TO, by core NATS: at most once, never stored, in order
// between one sender and one receiver. What must survive is in the Store, a
// JetStream key-value bucket.
//
// A message that waits for a connection to come back is worse than a lost one:
// the round that it belongs to is over. So nothing is queued while the
// connection is down; Send and Ask fail at once instead.
package nats
