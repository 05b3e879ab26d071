package trust

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"
)

const (
	tokenPrefix     = "snapline-"
	tokenIDSize     = 8
	tokenSecretSize = 16
)

// Token is what a host joins with: a number that names it, a secret, and the
// fingerprint of the authority, by which the host knows the coordinator.
type Token struct {
	id     [tokenIDSize]byte
	secret [tokenSecretSize]byte
	ca     [sha256.Size]byte
}

func newToken(ca *CA) (Token, error) {
	t := Token{ca: sha256.Sum256(ca.cert.Raw)}
	if _, err := rand.Read(t.id[:]); err != nil {
		return t, err
	}
	_, err := rand.Read(t.secret[:])
	return t, err
}

// ParseToken reads what Token.String wrote.
func ParseToken(s string) (Token, error) {
	var t Token
	s, ok := strings.CutPrefix(strings.TrimSpace(s), tokenPrefix)
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if !ok || err != nil || len(b) != len(t.id)+len(t.secret)+len(t.ca) {
		return t, errors.New("this is no join token, or not the whole of it")
	}
	copy(t.ca[:], b[copy(t.id[:], b)+copy(t.secret[:], b[len(t.id):]):])
	return t, nil
}

// String is the token as it is handed over: 84 characters without blanks.
func (t Token) String() string {
	b := append(append(append([]byte{}, t.id[:]...), t.secret[:]...), t.ca[:]...)
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(b)
}

// ID names the token; it is no secret.
func (t Token) ID() string { return hex.EncodeToString(t.id[:]) }

// Password is what the holder shows to the coordinator: not the fingerprint, and
// only when that has been checked.
func (t Token) Password() string { return t.ID() + "." + hex.EncodeToString(t.secret[:]) }

// pins reports whether the token names this authority.
func (t Token) pins(ca *x509.Certificate) bool {
	sum := sha256.Sum256(ca.Raw)
	return subtle.ConstantTimeCompare(sum[:], t.ca[:]) == 1
}

// digest is what the coordinator keeps of a secret of 128 random bits.
func digest(secret []byte) string {
	sum := sha256.Sum256(secret)
	return hex.EncodeToString(sum[:])
}

// splitPassword takes a Password apart.
func splitPassword(s string) (id string, secret []byte, ok bool) {
	id, hexed, found := strings.Cut(s, ".")
	secret, err := hex.DecodeString(hexed)
	return id, secret, found && err == nil && len(id) == 2*tokenIDSize && len(secret) == tokenSecretSize
}
