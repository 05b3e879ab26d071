package bank

import (
	"bytes"
	"testing"
)

func FuzzDecode(f *testing.F) {
	f.Add(transfer{Kind: kindTransfer, Flags: flagFirst, From: 1, To: 2, Seq: 3, Amount: 4}.encode())
	f.Add([]byte("SB"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := decode(b)
		if err == nil && !bytes.Equal(got.encode(), b) {
			t.Errorf("% x decodes to %+v, which encodes to % x", b, got, got.encode())
		}
	})
}

func TestFrame(t *testing.T) {
	got := transfer{Kind: kindTransfer, Flags: flagFirst, From: 0x0102, To: 0x0304, Seq: 5, Amount: 6}.encode()
	want := []byte{'S', 'B', 1, 1, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 6}
	if !bytes.Equal(got, want) {
		t.Errorf("encoded % x, want % x", got, want)
	}
}
