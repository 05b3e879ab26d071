package page

import (
	"bytes"
	"encoding/json"
	"testing"
)

func TestFill(t *testing.T) {
	for _, n := range []int{1, 7, 8, 9, Size} {
		b := bytes.Repeat([]byte{0xab}, n)
		if id, ok := FillOf(b); !ok || id != Fill(0xab) {
			t.Errorf("%d equal bytes: %s, %v", n, id, ok)
		}
		for i := range n {
			b[i] ^= 1
			if _, ok := FillOf(b); ok && n > 1 {
				t.Errorf("byte %d of %d differs, and is not seen", i, n)
			}
			b[i] ^= 1
		}
	}
	if _, ok := FillOf(nil); ok {
		t.Error("nothing is full of something")
	}
	for c := range 256 {
		if b, ok := Fill(byte(c)).FillByte(); !ok || b != byte(c) || Fill(byte(c)).Stored() {
			t.Errorf("fill %d", c)
		}
	}
	if _, ok := Absent.FillByte(); ok || Absent.Stored() {
		t.Error("absent")
	}
}

func TestID(t *testing.T) {
	h, err := NewHasher(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	id := h.Sum([]byte("x"))
	if !id.Stored() || id != h.Sum([]byte("x")) || id == h.Sum([]byte("y")) {
		t.Errorf("ids %s", id)
	}
	b, err := json.Marshal(id)
	var again ID
	if err != nil || json.Unmarshal(b, &again) != nil || again != id {
		t.Errorf("%s became %s", b, again)
	}
	for _, bad := range []string{`"00"`, `"zz"`, `"` + id.String() + `00"`, `"` + "g" + id.String()[1:] + `"`} {
		if json.Unmarshal([]byte(bad), &again) == nil {
			t.Errorf("%s is an id", bad)
		}
	}
}
