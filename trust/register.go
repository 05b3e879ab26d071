package trust

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/snapline/snapline"
)

const (
	principalPrefix = "principal."
	// maxGood is how many certificates of one principal are good at the same
	// time: the present one, and those that it has renewed.
	maxGood = 4
)

// record is what the register knows of a principal.
type record struct {
	Principal snapline.Principal `json:"principal"`
	Role      snapline.Role      `json:"role,omitempty"`
	By        string             `json:"by"`
	Since     time.Time          `json:"since"`
	Good      []good             `json:"good"` // oldest first
	Revoked   *time.Time         `json:"revoked,omitempty"`
}

// good is a certificate that is accepted.
type good struct {
	Serial  string    `json:"serial"`
	Issued  time.Time `json:"issued"`
	Expires time.Time `json:"expires"`
}

func (r record) key() string {
	return principalPrefix + r.Principal.Kind() + "." + r.Principal.Name()
}

// live reports whether the principal has any certificate that is good now.
func (r record) live(now time.Time) bool {
	return r.Revoked == nil && slices.ContainsFunc(r.Good, func(g good) bool { return now.Before(g.Expires) })
}

// with returns the record with one more certificate, and without those that have
// ended.
func (r record) with(cert *x509.Certificate, now time.Time) record {
	var all []good
	for _, g := range r.Good {
		if now.Before(g.Expires) {
			all = append(all, g)
		}
	}
	all = append(all, good{Serial: serialOf(cert), Issued: second(now), Expires: cert.NotAfter})
	r.Good = all[max(0, len(all)-maxGood):]
	return r
}

func (r record) status() snapline.CertificateStatus {
	s := snapline.CertificateStatus{Principal: r.Principal, Role: r.Role, By: r.By, Since: r.Since, Revoked: r.Revoked}
	if n := len(r.Good); n > 0 {
		s.Issued, s.Expires = r.Good[n-1].Issued, r.Good[n-1].Expires
	}
	return s
}

func serialOf(cert *x509.Certificate) string { return cert.SerialNumber.Text(16) }

func second(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

// register is the list of all principals, in memory and in the store.
type register struct {
	store snapline.Store
	mu    sync.RWMutex
	all   map[snapline.Principal]record
}

func (r *register) get(p snapline.Principal) (record, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	rec, ok := r.all[p]
	return rec, ok
}

// put makes a record durable and then valid.
func (r *register) put(ctx context.Context, rec record) error {
	if err := r.write(ctx, rec); err != nil {
		return err
	}
	r.set(rec)
	return nil
}

func (r *register) set(rec record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all[rec.Principal] = rec
}

func (r *register) write(ctx context.Context, rec record) error {
	b, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	return r.store.Put(ctx, rec.key(), b)
}

func (r *register) list() []record {
	r.mu.RLock()
	defer r.mu.RUnlock()
	out := make([]record, 0, len(r.all))
	for _, rec := range r.all {
		out = append(out, rec)
	}
	slices.SortFunc(out, func(a, b record) int { return strings.Compare(string(a.Principal), string(b.Principal)) })
	return out
}

// load reads the register from the store. seed are records that it has from the
// first day on; those that are there already stay as they are.
func load(ctx context.Context, store snapline.Store, seed []record) (*register, error) {
	r := &register{store: store, all: map[snapline.Principal]record{}}
	for _, rec := range seed {
		b, err := json.Marshal(rec)
		if err != nil {
			return nil, err
		}
		if _, err := store.Swap(ctx, rec.key(), b, 0); err != nil && !isConflict(err) {
			return nil, fmt.Errorf("admit %s: %w", rec.Principal, err)
		}
	}
	keys, err := store.Keys(ctx, principalPrefix)
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		b, _, err := store.Get(ctx, key)
		if err != nil {
			return nil, err
		}
		var rec record
		if err := json.Unmarshal(b, &rec); err != nil {
			return nil, fmt.Errorf("register entry %s: %w", key, err)
		}
		if err := rec.Principal.Check(); err != nil || rec.key() != key {
			return nil, fmt.Errorf("register entry %s is of %q", key, rec.Principal)
		}
		r.all[rec.Principal] = rec
	}
	return r, nil
}
