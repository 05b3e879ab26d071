package e2e

import (
	"slices"
	"strings"
	"testing"

	"github.com/snapline/snapline"
)

// doctor: real hosts and paths are found to be well; then a switch clears the
// marks of what h2 sends, and the doctor names just those paths. The members
// notice nothing, and no gate stays.
func (f *faults) doctor(t *testing.T) {
	var hosts []snapline.Finding
	f.mustRun(t, &hosts, "doctor")
	for _, h := range f.hostNames() {
		for _, check := range []string{"kernel", "ring-buffer", "gate", "bridges", "clock", "clock-rate", "repository", "agent"} {
			if !slices.ContainsFunc(hosts, func(g snapline.Finding) bool {
				return string(g.Host) == h && g.Check == check && g.State == snapline.FindingOK
			}) {
				t.Errorf("%s of %s is not ok: %+v", check, h, hosts)
			}
		}
	}
	var members []snapline.Finding
	f.mustRun(t, &members, "doctor", "--group", string(f.group))
	if len(members) != 6 { // each member, and the paths to it
		t.Errorf("findings of three members: %+v", members)
	}
	if err := f.ungated(f.hostNames()...); err != nil {
		t.Error(err)
	}

	f.nft(t, "table netdev bleach {\n chain in { type filter hook ingress device \"p2\" priority 0; ip dscp set 0; }\n}")
	o := f.run(t, "doctor", "--group", string(f.group), "--json")
	f.nft(t, "delete table netdev bleach")
	o.expect(t, exitRefused)
	o.decode(t, &members)
	for _, want := range []string{"n2 → n1: codepoint 0x2b arrives as 0x00", "n2 → n3: codepoint 0x2b arrives as 0x00", "n3 → n1: codepoint", "n1, n3 → n2: codepoint", "n1 → n3: codepoint"} {
		if !slices.ContainsFunc(members, func(g snapline.Finding) bool {
			return strings.HasPrefix(g.Text, want) && (g.State == snapline.FindingProblem) == strings.Contains(want, "as 0x00")
		}) {
			t.Errorf("no finding %q in %+v", want, members)
		}
	}
	if err := f.ungated(f.hostNames()...); err != nil {
		t.Error(err)
	}
	f.unharmed(t)
}

// nft runs a script in the switch, where the cable of host hN is port pN.
func (f *faults) nft(t *testing.T, script string) {
	t.Helper()
	cmd := f.Switch().Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(script)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("nft: %v: %s", err, out)
	}
}
