package seal

// Wrap seals the master key with another key, which must be used for nothing
// else. aad is authenticated.
func (m *Master) Wrap(key, aad []byte) []byte {
	return gcm(key).Seal(nil, Nonce(0), m.key[:], aad)
}

// Unwrap returns the master key, or ErrAltered when key or aad are not those
// that it was wrapped with.
func Unwrap(key, aad, wrapped []byte) (*Master, error) {
	text, err := gcm(key).Open(nil, Nonce(0), wrapped, aad)
	if err != nil || len(text) != KeySize {
		return nil, ErrAltered
	}
	return &Master{key: [KeySize]byte(text)}, nil
}
