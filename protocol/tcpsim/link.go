package tcpsim

import (
	"bytes"
	"context"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/state"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// mtu is Ethernet's.
const mtu = 1500

// link is a guest's network card: packets go out as Ethernet frames. It is what
// a stack needs to be saved with connections that are open, and holds no state
// of its own: a stack that is loaded gets a new one.
type link struct {
	send func(frame []byte)
	to   stack.NetworkDispatcher
}

func (l *link) MTU() uint32                                  { return mtu }
func (l *link) SetMTU(uint32)                                {}
func (l *link) SetLinkAddress(tcpip.LinkAddress)             {}
func (l *link) MaxHeaderLength() uint16                      { return 0 }
func (l *link) LinkAddress() tcpip.LinkAddress               { return "" }
func (l *link) Capabilities() stack.LinkEndpointCapabilities { return stack.CapabilitySaveRestore }
func (l *link) Attach(d stack.NetworkDispatcher)             { l.to = d }
func (l *link) IsAttached() bool                             { return l.to != nil }
func (l *link) Wait()                                        {}
func (l *link) ARPHardwareType() header.ARPHardwareType      { return header.ARPHardwareNone }
func (l *link) AddHeader(*stack.PacketBuffer)                {}
func (l *link) ParseHeader(*stack.PacketBuffer) bool         { return true }
func (l *link) Close()                                       {}
func (l *link) SetOnCloseAction(func())                      {}

// WritePackets sends packets that the stack has made.
func (l *link) WritePackets(list stack.PacketBufferList) (int, tcpip.Error) {
	for _, p := range list.AsSlice() {
		v := p.ToView()
		l.send(ethernet(v.AsSlice()))
		v.Release()
	}
	return list.Len(), nil
}

// receive hands a frame's packet to the stack.
func (l *link) receive(frame []byte) {
	p := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(bytes.Clone(frame[header.EthernetMinimumSize:]))})
	l.to.DeliverNetworkPacket(ipv4.ProtocolNumber, p)
	p.DecRef()
}

// ethernet puts an IPv4 packet into a frame. Its addresses do not matter here:
// the network goes by those of IP.
func ethernet(packet []byte) []byte {
	frame := make([]byte, header.EthernetMinimumSize, header.EthernetMinimumSize+len(packet))
	header.Ethernet(frame).Encode(&header.EthernetFields{
		SrcAddr: "\x02\x00\x00\x00\x00\x01", DstAddr: "\x02\x00\x00\x00\x00\x02", Type: header.IPv4ProtocolNumber})
	return append(frame, packet...)
}

func (l *link) StateTypeName() string                   { return "snapline/tcpsim.link" }
func (l *link) StateFields() []string                   { return nil }
func (l *link) StateSave(state.Sink)                    {}
func (l *link) StateLoad(context.Context, state.Source) {}

func init() { state.Register((*link)(nil)) }
