package trust

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/snapline/snapline"
)

const (
	joinPrefix = "token."
	defaultTTL = time.Hour
	maxTTL     = 30 * 24 * time.Hour
	// maxTokens bounds how many can be waiting to be used.
	maxTokens = 10_000
)

// joinRecord is what the store knows of a token.
type joinRecord struct {
	snapline.JoinToken        // without the secret
	Digest             string `json:"digest"`
	Used               bool   `json:"used,omitempty"`
}

// CreateToken makes a token that one host can join with, once.
func (a *Authority) CreateToken(ctx context.Context, by string, q snapline.TokenRequest) (snapline.JoinToken, error) {
	ttl := time.Duration(q.TTLSeconds) * time.Second
	if q.TTLSeconds == 0 {
		ttl = defaultTTL
	}
	if err := snapline.CheckName("host", string(q.Host)); err != nil {
		return snapline.JoinToken{}, invalid("", "%v", err)
	}
	if q.TTLSeconds < 0 || q.TTLSeconds > int64(maxTTL/time.Second) {
		return snapline.JoinToken{}, invalid("", "a token can live up to %d days", maxTTL/(24*time.Hour))
	}
	a.changing.Lock()
	defer a.changing.Unlock()
	r, err := a.loaded()
	if err != nil {
		return snapline.JoinToken{}, err
	}
	waiting, err := a.joins(ctx, r)
	if err != nil {
		return snapline.JoinToken{}, err
	}
	if len(waiting) >= maxTokens {
		return snapline.JoinToken{}, refused("snapline token list, and revoke some", "%d tokens wait to be used", len(waiting))
	}
	t, err := newToken(a.CA)
	if err != nil {
		return snapline.JoinToken{}, err
	}
	now := a.Now()
	rec := joinRecord{JoinToken: snapline.JoinToken{ID: t.ID(), Host: q.Host, By: by, Created: second(now), Expires: second(now.Add(ttl))}, Digest: digest(t.secret[:])}
	b, err := json.Marshal(rec)
	if err != nil {
		return snapline.JoinToken{}, err
	}
	if _, err := r.store.Swap(ctx, joinPrefix+rec.ID, b, 0); err != nil {
		return snapline.JoinToken{}, fmt.Errorf("note the token: %w", err)
	}
	out := rec.JoinToken
	out.Token = t.String()
	return out, nil
}

// Tokens lists the tokens that can still be used, by id.
func (a *Authority) Tokens(ctx context.Context) ([]snapline.JoinToken, error) {
	r, err := a.loaded()
	if err != nil {
		return nil, err
	}
	return a.joins(ctx, r)
}

// joins lists what can be used, and forgets what cannot any more.
func (a *Authority) joins(ctx context.Context, r *register) ([]snapline.JoinToken, error) {
	keys, err := r.store.Keys(ctx, joinPrefix)
	if err != nil {
		return nil, err
	}
	out := []snapline.JoinToken{}
	for _, key := range keys {
		rec, _, err := a.join(ctx, r, key[len(joinPrefix):])
		switch {
		case errors.Is(err, snapline.ErrNotFound):
		case err != nil:
			return nil, err
		case rec.Used || a.Now().After(rec.Expires):
			if err := r.store.Delete(ctx, key); err != nil {
				return nil, err
			}
		default:
			out = append(out, rec.JoinToken)
		}
	}
	return out, nil
}

func (a *Authority) join(ctx context.Context, r *register, id string) (joinRecord, uint64, error) {
	b, revision, err := r.store.Get(ctx, joinPrefix+id)
	if err != nil {
		return joinRecord{}, 0, err
	}
	var rec joinRecord
	if err := json.Unmarshal(b, &rec); err != nil {
		return joinRecord{}, 0, fmt.Errorf("token %s: %w", id, err)
	}
	return rec, revision, nil
}

// RevokeToken makes a token useless: CodeNotFound.
func (a *Authority) RevokeToken(ctx context.Context, id string) error {
	a.changing.Lock()
	defer a.changing.Unlock()
	r, err := a.loaded()
	if err != nil {
		return err
	}
	if snapline.CheckName("token", id) == nil {
		if _, _, err = a.join(ctx, r, id); err == nil {
			return r.store.Delete(ctx, joinPrefix+id)
		}
	}
	if err != nil && !errors.Is(err, snapline.ErrNotFound) {
		return err
	}
	return &snapline.Error{Code: snapline.CodeNotFound, Message: fmt.Sprintf("there is no token %q that waits to be used", id), Hint: "see: snapline token list"}
}

// CheckToken says which token a password is of; CodeDenied when it cannot be
// used. It does not use it up.
func (a *Authority) CheckToken(ctx context.Context, password string) (id string, err error) {
	r, err := a.loaded()
	if err != nil {
		return "", err
	}
	rec, _, err := a.usable(ctx, r, password)
	return rec.ID, err
}

func (a *Authority) usable(ctx context.Context, r *register, password string) (joinRecord, uint64, error) {
	no := denied("make another: snapline token create --host NAME", "the token was used already, has expired, was revoked, or was never made")
	id, secret, ok := splitPassword(password)
	if !ok || snapline.CheckName("token", id) != nil {
		return joinRecord{}, 0, no
	}
	rec, revision, err := a.join(ctx, r, id)
	if err != nil && !errors.Is(err, snapline.ErrNotFound) {
		return joinRecord{}, 0, err
	}
	if subtle.ConstantTimeCompare([]byte(rec.Digest), []byte(digest(secret))) != 1 || rec.Used || a.Now().After(rec.Expires) {
		return joinRecord{}, 0, no
	}
	return rec, revision, nil
}

// Enrol admits the host that the token is for, uses the token up, and ends what
// another machine may have had under that name.
func (a *Authority) Enrol(ctx context.Context, password string, host snapline.HostName, csr string) (snapline.IssuedCertificate, error) {
	key, err := requestedKey(csr)
	if err != nil {
		return snapline.IssuedCertificate{}, invalid("", "%v", err)
	}
	a.changing.Lock()
	defer a.changing.Unlock()
	r, err := a.loaded()
	if err != nil {
		return snapline.IssuedCertificate{}, err
	}
	rec, revision, err := a.usable(ctx, r, password)
	if err != nil {
		return snapline.IssuedCertificate{}, err
	}
	if rec.Host != host {
		return snapline.IssuedCertificate{}, denied("start the agent with that --name, or make another token: snapline token create --host "+string(host), "the token is for host %s, not %s", rec.Host, host)
	}
	rec.Used = true
	b, err := json.Marshal(rec)
	if err != nil {
		return snapline.IssuedCertificate{}, err
	}
	if _, err := r.store.Swap(ctx, joinPrefix+rec.ID, b, revision); err != nil {
		return snapline.IssuedCertificate{}, fmt.Errorf("use the token up: %w", err)
	}
	p := snapline.NewPrincipal(snapline.KindAgent, string(host))
	out, err := a.issue(ctx, r, record{Principal: p, By: rec.By, Since: second(a.Now())}, key, nil)
	if err != nil {
		return out, err
	}
	a.end(p)
	if err := r.store.Delete(ctx, joinPrefix+rec.ID); err != nil {
		a.Log.Warn("forget a used token", "token", rec.ID, "error", err)
	}
	return out, nil
}
