package cli

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/repository"
)

// secretFlags say what opens a repository.
type secretFlags struct {
	keyFile        string
	passphraseFile string
}

func (f *secretFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.keyFile, "key-file", "", "`FILE` whose content opens the repository (env SNAPLINE_KEY_FILE)")
	fs.StringVar(&f.passphraseFile, "passphrase-file", "", "`FILE` whose first line is the passphrase (env SNAPLINE_PASSPHRASE_FILE, or SNAPLINE_PASSPHRASE itself)")
}

// maxSecret bounds a key file, in bytes.
const maxSecret = 1 << 20

// The environment's names for secrets.
const (
	envKeyFile        = "SNAPLINE_KEY_FILE"
	envPassphraseFile = "SNAPLINE_PASSPHRASE_FILE"
	envPassphrase     = "SNAPLINE_PASSPHRASE"
)

// secretSource is the one place that a secret comes from; all empty: a person.
type secretSource struct{ keyFile, passphraseFile, passphrase string }

// source decides which it is: flags before the environment, and no guessing
// between two.
func (f *secretFlags) source(d Deps) (secretSource, error) {
	s := secretSource{keyFile: f.keyFile, passphraseFile: f.passphraseFile}
	if s.keyFile != "" && s.passphraseFile != "" {
		return s, invalid("give one of them", "both --key-file and --passphrase-file are given")
	}
	if s.keyFile != "" || s.passphraseFile != "" {
		return s, nil
	}
	var set []string
	for name, to := range map[string]*string{envKeyFile: &s.keyFile, envPassphraseFile: &s.passphraseFile, envPassphrase: &s.passphrase} {
		if v, _ := d.Env(name); v != "" {
			*to = v
			set = append(set, name)
		}
	}
	if len(set) > 1 {
		return s, invalid("unset all but one, or say which with --key-file or --passphrase-file", "more than one of %s, %s and %s is set", envKeyFile, envPassphraseFile, envPassphrase)
	}
	return s, nil
}

// secret reads what opens the repository; from the terminal when nothing else
// is named.
func (f *secretFlags) secret(ctx context.Context, d Deps) (repository.Secret, error) {
	s, err := f.source(d)
	if err != nil {
		return repository.Secret{}, err
	}
	if s == (secretSource{}) {
		text, err := prompt(ctx, d, "passphrase: ")
		if err != nil {
			return repository.Secret{}, err
		}
		return passphrase(text)
	}
	return s.read()
}

// newSecret reads the secret of a new key: a key file that is missing is made,
// a passphrase is asked for twice. made is the file, or "".
func (f *secretFlags) newSecret(ctx context.Context, d Deps) (secret repository.Secret, made string, err error) {
	s, err := f.source(d)
	if err != nil {
		return secret, "", err
	}
	if s == (secretSource{}) {
		secret, err := choosePassphrase(ctx, d)
		return secret, "", err
	}
	if s.keyFile != "" {
		if made, err = makeKeyFile(s.keyFile); err != nil {
			return secret, "", err
		}
	}
	secret, err = s.read()
	return secret, made, err
}

func (s secretSource) read() (repository.Secret, error) {
	switch {
	case s.keyFile != "":
		b, err := readSecret("key file", s.keyFile)
		if err != nil {
			return repository.Secret{}, err
		}
		secret, err := repository.KeyFile(b)
		if err != nil {
			return secret, invalid("", "%s: %v", s.keyFile, err)
		}
		return secret, nil
	case s.passphraseFile != "":
		b, err := readSecret("passphrase file", s.passphraseFile)
		if err != nil {
			return repository.Secret{}, err
		}
		line, _, _ := bytes.Cut(b, []byte{'\n'})
		secret, err := passphrase(strings.TrimSuffix(string(line), "\r"))
		if err != nil {
			return secret, invalid("", "%s: its first line is empty", s.passphraseFile)
		}
		return secret, nil
	}
	return passphrase(s.passphrase)
}

func passphrase(text string) (repository.Secret, error) {
	secret, err := repository.Passphrase(text)
	if err != nil {
		return secret, invalid("", "%v", err)
	}
	return secret, nil
}

// readSecret reads a file that nobody else may read. What is no regular file,
// such as a shell's <(command), belongs to whoever has it open.
func readSecret(what, path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, invalid("", "%s: %v", what, err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, invalid("", "%s: %v", what, err)
	}
	if st.Mode().IsRegular() && st.Mode().Perm()&0o077 != 0 {
		return nil, invalid("chmod 600 "+path, "%s %s is not private: its mode is %04o, so that others than its owner can use it", what, path, st.Mode().Perm())
	}
	b, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return nil, invalid("", "%s: %v", what, err)
	}
	if len(b) > maxSecret {
		return nil, invalid("", "%s %s has more than %d bytes; is it the right one?", what, path, maxSecret)
	}
	return b, nil
}

// keyFileSize is what a key file is made of: random bytes.
const keyFileSize = 32

// makeKeyFile makes a random key file where there is none, durably: what it
// opens is lost with it. It returns "" when there is one.
func makeKeyFile(path string) (made string, err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return "", nil
	}
	if err != nil {
		return "", invalid("", "key file: %v", err)
	}
	b := make([]byte, keyFileSize)
	rand.Read(b)
	_, err = f.Write(b)
	if err = errors.Join(err, f.Chmod(0o600), f.Sync(), f.Close(), syncFolder(path)); err != nil {
		return "", fmt.Errorf("key file: %w", errors.Join(err, os.Remove(path)))
	}
	return path, nil
}

// prompt asks a person for a line that is not shown.
func prompt(ctx context.Context, d Deps, question string) (string, error) {
	f, ok := d.Stdin.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return "", invalid(fmt.Sprintf("name a file with --key-file or --passphrase-file (env %s, %s, %s)", envKeyFile, envPassphraseFile, envPassphrase),
			"the repository's key is needed, and there is no terminal to ask for a passphrase")
	}
	fd := int(f.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", err
	}
	fmt.Fprint(d.Stderr, question)
	type answer struct {
		text []byte
		err  error
	}
	got := make(chan answer, 1)
	go func() { // a read of a terminal cannot be called off
		text, err := term.ReadPassword(fd)
		got <- answer{text, err}
	}()
	select {
	case a := <-got:
		fmt.Fprintln(d.Stderr)
		if errors.Is(a.err, io.EOF) {
			return "", invalid("", "no passphrase was given")
		}
		return string(a.text), a.err
	case <-ctx.Done():
		fmt.Fprintln(d.Stderr)
		return "", errors.Join(&snapline.Error{Code: snapline.CodeCancelled, Message: "interrupted", Err: ctx.Err()}, term.Restore(fd, before))
	}
}

// choosePassphrase asks until a passphrase was typed twice.
func choosePassphrase(ctx context.Context, d Deps) (repository.Secret, error) {
	for {
		first, err := prompt(ctx, d, "new passphrase: ")
		if err != nil {
			return repository.Secret{}, err
		}
		secret, err := passphrase(first)
		if err != nil {
			return secret, err
		}
		again, err := prompt(ctx, d, "again: ")
		if err != nil {
			return secret, err
		}
		if first == again {
			return secret, nil
		}
		fmt.Fprintln(d.Stderr, "these were two different ones")
	}
}
