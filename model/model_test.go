package model

import (
	"slices"
	"strings"
	"testing"
)

// TestCases explores the small cases. All together take two and a half minutes of
// one processor, compiling included, and none takes more than 250 MB.
func TestCases(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles and runs some fifty searches")
	}
	for _, c := range Cases() {
		if c.Large {
			continue
		}
		t.Run(strings.ReplaceAll(c.Name(), " ", ","), func(t *testing.T) {
			r, err := Run(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Check(r); err != nil {
				t.Fatal(err)
			}
			if c.Want == "" {
				t.Logf("%d states, %d deep, %.0f MiB, %v", r.States, r.Depth, r.MemoryMiB, r.Took)
				return
			}
			t.Logf("%d steps", r.Trail)
		})
	}
}

// TestNothingUntried wants every property violated by some wrong variant, every
// state reached, and every wrong variant tried.
func TestNothingUntried(t *testing.T) {
	for _, model := range []string{"round", "restore"} {
		var wanted, defined []string
		for _, c := range Cases() {
			if c.Model == model {
				wanted, defined = append(wanted, c.Want), append(defined, c.Define...)
			}
		}
		all, err := names(model)
		if err != nil {
			t.Fatal(err)
		}
		if len(all) == 0 {
			t.Errorf("%s.pml has no properties", model)
		}
		for _, n := range all {
			if !slices.Contains(wanted, n) {
				t.Errorf("%s: no case shows that %s can be found", model, n)
			}
		}
		text, err := source(model)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range strings.FieldsFunc(string(text), func(r rune) bool { return r != '_' && (r < 'A' || r > 'Z') }) {
			if strings.HasPrefix(w, "WRONG_") && w != "WRONG_" && !slices.Contains(defined, w) {
				t.Errorf("%s: no case tries %s", model, w)
			}
		}
	}
}
