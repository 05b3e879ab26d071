package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/api"
)

// exits is the one table of exit statuses.
var exits = [...]struct {
	code    snapline.Code
	status  int
	meaning string
}{
	{snapline.CodeFailed, 1, "it was tried and did not work"},
	{snapline.CodeInvalid, 2, "the command line, or a file, makes no sense"},
	{snapline.CodeRefused, 3, "checked before the start and refused; nothing was touched"},
	{snapline.CodeNotFound, 4, "no such group, snapshot, operation or repository"},
	{snapline.CodeBusy, 5, "another operation on the group or repository is running"},
	{snapline.CodeUnavailable, 6, "the coordinator or an agent cannot be reached"},
	{snapline.CodeDamaged, 7, "stored data is not what was written"},
	{snapline.CodeDenied, 8, "this user may not do it, or has not said who they are"},
	{snapline.CodeCancelled, 130, "stopped on request (Ctrl-C)"},
}

func exitStatus(c snapline.Code) int {
	for _, e := range exits {
		if e.code == c {
			return e.status
		}
	}
	return 1
}

// printError shows err, the only place that does, and returns the exit status.
func printError(w io.Writer, err error, asJSON bool) int {
	e := api.AsError(err)
	if asJSON {
		// One line, so that it can be told from the messages before it: the last.
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		if enc.Encode(e) == nil {
			return exitStatus(e.Code)
		}
	}
	fmt.Fprintf(w, "error: %s\n", clean(e.Message))
	for _, r := range e.Reasons {
		fmt.Fprintf(w, "  - %s\n", clean(r.String()))
		if r.Hint != "" {
			fmt.Fprintf(w, "    hint: %s\n", clean(r.Hint))
		}
	}
	if e.Hint != "" {
		fmt.Fprintf(w, "hint: %s\n", clean(e.Hint))
	}
	return exitStatus(e.Code)
}

func invalid(hint, format string, args ...any) error {
	return &snapline.Error{Code: snapline.CodeInvalid, Message: fmt.Sprintf(format, args...), Hint: hint}
}

// usageError makes what cobra says of a command line ours.
func usageError(cmd *cobra.Command, err error) error {
	if e := api.AsError(err); e.Code == snapline.CodeInvalid {
		return err
	}
	return invalid(fmt.Sprintf("see `%s --help`", cmd.CommandPath()), "%s: %v", cmd.CommandPath(), err)
}

// mostTypos is how many letters of a command may be wrong for it to be suggested.
const mostTypos = 2

// knownCommand refuses arguments of the root command, which are verbs that do
// not exist.
func knownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := "see `snapline --help`"
	for typos := range mostTypos {
		cmd.SuggestionsMinimumDistance = typos + 1
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			hint = "did you mean `snapline " + strings.Join(near, "` or `snapline ") + "`?"
			break
		}
	}
	return invalid(hint, "snapline has no command %q", args[0])
}

func exitCodesTopic() *cobra.Command {
	var b strings.Builder
	b.WriteString("Exit statuses of every snapline command:\n\n    0  success\n")
	for _, e := range exits {
		fmt.Fprintf(&b, "  %3d  %-12s %s\n", e.status, e.code, e.meaning)
	}
	b.WriteString("\nThe word is the error's code in JSON (--json) and in the HTTP API.")
	return &cobra.Command{Use: "exit-codes", Short: "Exit statuses and what they mean", Long: b.String()}
}

func jsonTopic() *cobra.Command {
	return &cobra.Command{Use: "json", Short: "What the commands print with --json", Long: `With --json a command that succeeds prints one JSON value on stdout, and nothing
else; fields may be added in later versions, none is renamed or removed.
Progress and messages go to stderr as ever. A command that fails prints nothing
on stdout, and as the last line of stderr an object {code, message, reasons,
hint}.

  apply, status GROUP,  GroupStatus
  protect
  groups, status        list of GroupStatus
  hosts                 list of HostStatus
  events                list of Event; with --follow one Event a line
  doctor                list of Finding, also when some are problems: then the
                        exit status is 3 and the error comes besides
  take                  TakeResult
  unprotect             {group, state: "unprotected"}
  restore, recover      RestoreResult
  recover --dry-run     RecoveryPlan
  drain                 DrainResult
  undrain               {host, state: "undrained"}
  list                  list of {id, group, note, taken_at, strategy, members,
                        pause_ms (longest), ram_bytes, stored_bytes}
  show                  Snapshot
  delete                {id, state: "deleted"}
  prune, repo prune     PruneResult
  repo repair           RepairResult
  verify                {id, state: "ok", deep, objects: list of {member, kind
                        (memory, disk, backing), disk, raw_bytes}}
  export                {id, member, kind (memory, stream, disk), disk, file,
                        bytes}
  repo init             {id, location, key_file (if it was made)}
  repo stats            {id, location, format, snapshots, raw_bytes, packs,
                        pack_bytes, indexes, index_bytes, other_bytes, objects,
                        cache_bytes}
  repo check            {problems: [], unused, unused_bytes, snapshots, packs,
                        bytes_read}; damage is an error, with a reason for each
  repo key list         list of {id, label, created, kdf, current}
  repo key add          {id, label, created, kdf}
  repo key remove       {id, state: "removed", at}
  init, certificate show
                        {principal, credential, fingerprint, expires}
  token create          JoinToken
  token list            list of JoinToken, without token
  token revoke          {id, state: "revoked"}
  user add, certificate issue
                        {principal, role, file, expires}
  certificate list      list of CertificateStatus
  revoke                {principal, state: "revoked"}
  audit                 list of AuditEntry
  version               Version

The names are those of the schemas in the HTTP API's description, which the
coordinator serves at /openapi.json. Times are RFC 3339, *_ms milliseconds,
*_bytes bytes.`}
}
