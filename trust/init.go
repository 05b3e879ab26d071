package trust

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/snapline/snapline"
)

const (
	caFile   = "ca.pem"
	seedFile = "seed.json"
)

// Seed is whom Init has admitted, until a coordinator has it in its register.
type Seed struct {
	path    string
	records []record
}

// Forget removes the seed, once Authority.Load has it.
func (s Seed) Forget() error {
	if s.path == "" {
		return nil
	}
	if err := os.Remove(s.path); err != nil && !Missing(err) {
		return err
	}
	return syncDir(filepath.Dir(s.path))
}

// Init makes a cluster's authority in folder dir, which must not be there yet
// (os.ErrExist), and the credential of its first operator. The folder appears
// whole, when keep has put the credential away, or not at all.
func Init(dir, operator string, now time.Time, keep func(*Credential) error) error {
	if _, err := os.Lstat(dir); err == nil {
		return fmt.Errorf("%s: %w", dir, os.ErrExist)
	} else if !Missing(err) {
		return err
	}
	p := snapline.NewPrincipal(snapline.KindUser, operator)
	if err := p.Check(); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), ".trust-") // mode 0700
	if err != nil {
		return err
	}
	err = fill(tmp, p, now, keep)
	if err == nil {
		err = os.Rename(tmp, dir)
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(tmp))
	}
	return syncDir(filepath.Dir(dir))
}

func fill(dir string, p snapline.Principal, now time.Time, keep func(*Credential) error) error {
	ca, err := NewCA(now)
	if err != nil {
		return err
	}
	if err := ca.Create(filepath.Join(dir, caFile)); err != nil {
		return err
	}
	rec := record{Principal: p, Role: snapline.RoleOperator, By: "init", Since: second(now)}
	c, cert, err := ca.credential(p, nil, now, UserLife)
	if err != nil {
		return err
	}
	b, err := json.Marshal([]record{rec.with(cert, now)})
	if err != nil {
		return err
	}
	if err := createPrivate(filepath.Join(dir, seedFile), b); err != nil {
		return err
	}
	return keep(c)
}

// credential makes a key and issues a certificate for it: for those who live in
// this process.
func (ca *CA) credential(p snapline.Principal, hosts []string, now time.Time, life time.Duration) (*Credential, *x509.Certificate, error) {
	r, err := NewRequest()
	if err != nil {
		return nil, nil, err
	}
	cert, err := ca.sign(r.key.Public(), p, hosts, now, life)
	if err != nil {
		return nil, nil, err
	}
	c, err := r.Credential(issued(ca, cert, record{Principal: p}))
	return c, cert, err
}

// Coordinator makes a credential for this process as a coordinator. It is good
// for as long as the process renews it, and is written nowhere.
func (ca *CA) Coordinator(name string, hosts []string, now time.Time) (*Credential, error) {
	c, _, err := ca.credential(snapline.NewPrincipal(snapline.KindCoordinator, name), hosts, now, CoordinatorLife)
	return c, err
}

// Open reads what Init has made. Missing says that there is none.
func Open(dir string) (*CA, Seed, error) {
	ca, err := ReadCA(filepath.Join(dir, caFile))
	if err != nil {
		return nil, Seed{}, err
	}
	seed := Seed{path: filepath.Join(dir, seedFile)}
	b, err := readPrivate(seed.path)
	if Missing(err) {
		return ca, Seed{}, nil
	}
	if err != nil {
		return nil, seed, err
	}
	if err := json.Unmarshal(b, &seed.records); err != nil {
		return nil, seed, fmt.Errorf("%s: %w", seed.path, err)
	}
	return ca, seed, nil
}
