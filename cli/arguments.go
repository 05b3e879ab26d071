package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/snapline/snapline"
)

// exactly requires the named arguments, and says which is missing.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == len(names) {
			return nil
		}
		hint := "usage: " + cmd.UseLine()
		if len(args) < len(names) {
			return invalid(hint, "%s: %s is missing", cmd.CommandPath(), names[len(args)])
		}
		return invalid(hint, "%s: unexpected argument %q", cmd.CommandPath(), args[len(names)])
	}
}

// atMost allows the named arguments.
func atMost(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		return exactly(names[:min(len(args), len(names))]...)(cmd, args)
	}
}

func groupArg(s string) (snapline.GroupName, error) {
	if err := snapline.CheckName("group", s); err != nil {
		return "", invalid("see `snapline groups`", "%v", err)
	}
	return snapline.GroupName(s), nil
}

func snapshotArg(s string) (snapline.SnapshotID, error) {
	id := snapline.SnapshotID(s)
	if _, _, err := id.Split(); err != nil {
		return "", invalid("see `snapline list`", "%v", err)
	}
	return id, nil
}

// optionalGroup is the group of a command that has none or one.
func optionalGroup(args []string) (snapline.GroupName, error) {
	if len(args) == 0 {
		return "", nil
	}
	return groupArg(args[0])
}

// parsePlace reads MEMBER=HOST,…; every mistake at once.
func parsePlace(pairs []string) (map[snapline.MemberName]snapline.HostName, error) {
	place := map[snapline.MemberName]snapline.HostName{}
	var bad []snapline.Reason
	for _, pair := range pairs {
		member, host, ok := strings.Cut(pair, "=")
		name := snapline.MemberName(member)
		switch {
		case !ok:
			bad = append(bad, snapline.Reason{Text: "\"" + pair + "\" is not MEMBER=HOST"})
		case snapline.CheckName("member", member) != nil:
			bad = append(bad, snapline.Reason{Text: snapline.CheckName("member", member).Error()})
		case snapline.CheckName("host", host) != nil:
			bad = append(bad, snapline.Reason{Text: snapline.CheckName("host", host).Error()})
		case place[name] != "":
			bad = append(bad, snapline.Reason{Text: "member " + member + " is placed twice"})
		default:
			place[name] = snapline.HostName(host)
		}
	}
	if bad != nil {
		return nil, &snapline.Error{Code: snapline.CodeInvalid, Message: "--place is not valid", Reasons: bad, Hint: "write --place n1=h2,n2=h3"}
	}
	return place, nil
}
