package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"golang.org/x/term"
)

// printer is where a verb prints: results on out, the rest on err.
type printer struct {
	out, err io.Writer
	json     bool
	terminal bool // err is one
}

// isTerminal reports whether stderr can show bars.
func isTerminal(d Deps) bool {
	f, ok := d.Stderr.(*os.File)
	if kind, set := d.Env("TERM"); !ok || !set || kind == "dumb" || kind == "" {
		return false
	}
	return term.IsTerminal(int(f.Fd()))
}

// result prints v as JSON, or calls human.
func (p printer) result(v any, human func() error) error {
	if !p.json {
		return human()
	}
	enc := json.NewEncoder(p.out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// note prints a message that is no result.
func (p printer) note(format string, args ...any) {
	fmt.Fprintln(p.err, clean(fmt.Sprintf(format, args...)))
}

func (p printer) line(format string, args ...any) error {
	_, err := fmt.Fprintln(p.out, clean(fmt.Sprintf(format, args...)))
	return err
}

// column is a table's column; numbers are aligned to the right.
type column struct {
	title string
	right bool
}

func left(title string) column  { return column{title: title} }
func right(title string) column { return column{title: title, right: true} }

// table prints rows below columns, without lines.
func (p printer) table(columns []column, rows [][]any) error {
	t := table.NewWriter()
	style := table.StyleDefault
	style.Options = table.OptionsNoBordersAndSeparators
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	style.Format.Header = text.FormatDefault
	t.SetStyle(style)
	t.SuppressTrailingSpaces()
	var header table.Row
	var configs []table.ColumnConfig
	for i, c := range columns {
		header = append(header, c.title)
		align := text.AlignLeft
		if c.right {
			align = text.AlignRight
		}
		configs = append(configs, table.ColumnConfig{Number: i + 1, Align: align, AlignHeader: align})
	}
	t.AppendHeader(header)
	t.SetColumnConfigs(configs)
	for _, r := range rows {
		t.AppendRow(r)
	}
	_, err := fmt.Fprintln(p.out, clean(t.Render()))
	return err
}

// size is bytes for people.
func size(n int64) string {
	switch {
	case n < 1<<10:
		return strconv.FormatInt(n, 10) + " B"
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	case n < 10<<30:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
}

func ms(v float64) string { return fmt.Sprintf("%.1f ms", v) }

// duration is milliseconds that may be many.
func duration(v float64) string {
	if v < 1000 {
		return ms(v)
	}
	return fmt.Sprintf("%.1f s", v/1000)
}

func when(t time.Time) string { return t.Local().Format(time.DateTime) }

// dash stands for what is not there.
func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// count is "1 member", "3 members".
func count[N int | uint64](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
