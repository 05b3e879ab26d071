package bank

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
)

// transfer is one movement of money on one flow, and also the frame that
// carries it or acknowledges it.
type transfer struct {
	Kind   byte
	Flags  byte
	From   uint16 // index of the sender's account
	To     uint16 // index of the receiver's account
	Seq    uint64 // 1, 2, … on each flow
	Amount uint64
}

const (
	kindTransfer = 1
	kindAck      = 2

	// flagFirst is on the first transfer after the sender had rested: the time
	// since the one before is no gap in the flow.
	flagFirst = 1
)

// frameLen is the length of an encoded transfer, big endian throughout:
//
//	0 'S'  1 'B'  2 kind  3 flags  4 from  6 to  8 seq  16 amount
const frameLen = 24

func (t transfer) encode() []byte {
	b := make([]byte, 0, frameLen)
	b = append(b, 'S', 'B', t.Kind, t.Flags)
	b = binary.BigEndian.AppendUint16(b, t.From)
	b = binary.BigEndian.AppendUint16(b, t.To)
	b = binary.BigEndian.AppendUint64(b, t.Seq)
	return binary.BigEndian.AppendUint64(b, t.Amount)
}

var errFrame = errors.New("not a frame")

func decode(b []byte) (transfer, error) {
	if len(b) != frameLen || b[0] != 'S' || b[1] != 'B' || (b[2] != kindTransfer && b[2] != kindAck) {
		return transfer{}, fmt.Errorf("%w: % x", errFrame, b)
	}
	return transfer{
		Kind: b[2], Flags: b[3],
		From: binary.BigEndian.Uint16(b[4:]), To: binary.BigEndian.Uint16(b[6:]),
		Seq: binary.BigEndian.Uint64(b[8:]), Amount: binary.BigEndian.Uint64(b[16:]),
	}, nil
}

// chain digests a flow's transfers in order: the digest before and this one.
func (t transfer) chain(before uint64) uint64 {
	h := fnv.New64a()
	h.Write(binary.BigEndian.AppendUint64(nil, before))
	h.Write(t.encode())
	return h.Sum64()
}
