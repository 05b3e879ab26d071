// Command package writes what a package of Snapline has beside the program:
// manual pages and completions, from the commands' own help. It is a module of
// its own, with the packager, so that Snapline's stays small.
package main

import (
	"bytes"
	"compress/gzip"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/snapline/snapline/cli"
)

func main() {
	out := flag.String("out", "", "folder for man/ and completions/, which is made anew")
	epoch := flag.Int64("epoch", 0, "date of the pages, seconds since 1970")
	flag.Parse()
	if err := write(*out, time.Unix(*epoch, 0).UTC()); err != nil {
		fmt.Fprintf(os.Stderr, "package: %v\n", err)
		os.Exit(1)
	}
}

func write(out string, date time.Time) error {
	if out == "" {
		return fmt.Errorf("where to? -out DIR")
	}
	root := cli.New(cli.Deps{Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: io.Discard,
		Env:   func(string) (string, bool) { return "", false },
		Extra: []*cobra.Command{cli.NewCoordinatorCommand(), cli.NewAgentCommand(), cli.NewLabCommand()}})
	root.DisableAutoGenTag = true
	man, completions := filepath.Join(out, "man"), filepath.Join(out, "completions")
	for _, dir := range []string{man, completions} {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	header := &doc.GenManHeader{Section: "1", Date: &date, Source: "Snapline", Manual: "Snapline"}
	if err := doc.GenManTree(root, header, man); err != nil {
		return err
	}
	if err := compress(man); err != nil {
		return err
	}
	for name, generate := range map[string]func(io.Writer) error{
		"snapline":      func(w io.Writer) error { return root.GenBashCompletionV2(w, true) },
		"_snapline":     root.GenZshCompletion,
		"snapline.fish": func(w io.Writer) error { return root.GenFishCompletion(w, true) },
	} {
		var b bytes.Buffer
		if err := generate(&b); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(completions, name), b.Bytes(), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// compress makes X.gz of each file X, the same bytes each time.
func compress(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		return err
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		var z bytes.Buffer
		w, err := gzip.NewWriterLevel(&z, gzip.BestCompression)
		if err != nil {
			return err
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
		if err := w.Close(); err != nil {
			return err
		}
		if err := os.WriteFile(f+".gz", z.Bytes(), 0o644); err != nil {
			return err
		}
		if err := os.Remove(f); err != nil {
			return err
		}
	}
	return nil
}
