package snapline

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// GroupName names a set of virtual machines that are snapshotted together.
type GroupName string

// MemberName names one virtual machine inside its group.
type MemberName string

// HostName names a machine that runs one agent.
type HostName string

// Round numbers the attempts to snapshot one group. It grows by at least one
// with every attempt and is never used twice, so a message of an old round can
// be told from one of the present round.
type Round uint64

// Incarnation names one life of an agent process. A restarted agent has lost
// its gates and captures; messages meant for its former life must not move it.
type Incarnation string

// SnapshotID names a snapshot: the group and the round that made it ("etcd-7").
type SnapshotID string

// NewSnapshotID returns the id of the snapshot that the given round makes.
func NewSnapshotID(g GroupName, r Round) SnapshotID {
	return SnapshotID(string(g) + "-" + strconv.FormatUint(uint64(r), 10))
}

// Split returns the group and round of an id, or an error when it is not one.
func (id SnapshotID) Split() (GroupName, Round, error) {
	i := strings.LastIndexByte(string(id), '-')
	if i <= 0 {
		return "", 0, fmt.Errorf("%q is not a snapshot id (GROUP-NUMBER)", string(id))
	}
	n, err := strconv.ParseUint(string(id[i+1:]), 10, 64)
	if err != nil || n == 0 || strconv.FormatUint(n, 10) != string(id[i+1:]) {
		return "", 0, fmt.Errorf("%q is not a snapshot id (GROUP-NUMBER)", string(id))
	}
	if err := CheckName("group", string(id[:i])); err != nil {
		return "", 0, err
	}
	return GroupName(id[:i]), Round(n), nil
}

var nameRE = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// CheckName reports whether s can name a group, member or host: a DNS label,
// so that it is safe in file names, message subjects and URLs. kind is used in
// the error.
func CheckName(kind, s string) error {
	if !nameRE.MatchString(s) {
		return fmt.Errorf("%s name %q: use 1 to 63 of a-z, 0-9 and '-', beginning and ending with a letter or digit", kind, s)
	}
	return nil
}
