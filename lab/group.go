package lab

import (
	"fmt"
	"os"
	"strings"
)

// writeGroup writes the group file: the lab's virtual machines as one group
// that is named after the workload.
func (l *Lab) writeGroup() error {
	var b strings.Builder
	fmt.Fprintf(&b, "group: %s\nmembers:\n", l.Workload())
	for _, v := range l.VMs() {
		fmt.Fprintf(&b, "  - name: %s\n    host: %s\n    qemu: { qmp: %s }\n", v.Name, v.Host, v.QMP)
	}
	return os.WriteFile(l.GroupFile(), []byte(b.String()), 0o644)
}
