package bpf

import (
	"errors"
	"net/netip"

	"github.com/cilium/ebpf"

	"github.com/snapline/snapline"
)

// Ways reads them one by one, a few µs each.
func (f *Fence) Ways() (all []snapline.Way, err error) {
	err = f.use("read where packets go", func() error {
		var w fenceWay
		var last uint64
		each := f.maps.ways.Iterate()
		for each.Next(&w, &last) {
			all = append(all, snapline.Way{From: wayAddr(w.Kind, w.From), To: wayAddr(w.Kind, w.To), Last: snapline.Instant(last)})
		}
		return each.Err()
	})
	return all, err
}

// Forget looks at each again before it takes it out. A packet between the two
// makes a new entry only if it is not the last one.
func (f *Fence) Forget(ways []snapline.Way) error {
	return f.use("forget where packets went", func() error {
		for _, way := range ways {
			w := wayKey(way)
			var last uint64
			err := f.maps.ways.Lookup(w, &last)
			if err == nil && last == uint64(way.Last) {
				err = f.maps.ways.Delete(w)
			}
			if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
				return err
			}
		}
		return nil
	})
}

func wayKey(w snapline.Way) fenceWay {
	k := fenceWay{Kind: fromIPv6}
	if w.From.Is4() {
		k.Kind = fromIPv4
	}
	copy(k.From[:], w.From.AsSlice())
	copy(k.To[:], w.To.AsSlice())
	return k
}

func wayAddr(kind uint32, b [16]byte) netip.Addr {
	if kind == fromIPv4 {
		return netip.AddrFrom4([4]byte(b[:]))
	}
	return netip.AddrFrom16(b)
}
