package sim

import (
	"math/bits"
	"time"
)

// random is SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): small, and the
// same for ever, so that a seed from an old report still replays.
type random struct{ state uint64 }

func (r *random) next() uint64 {
	r.state += 0x9e3779b97f4a7c15
	z := r.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// below returns a number in [0, n).
func (r *random) below(n int) int {
	hi, _ := bits.Mul64(r.next(), uint64(n))
	return int(hi)
}

// chance is true with probability p.
func (r *random) chance(p float64) bool { return p > 0 && float64(r.next()>>11) < p*(1<<53) }

// between returns a duration in [a, b].
func (r *random) between(a, b time.Duration) time.Duration {
	hi, _ := bits.Mul64(r.next(), uint64(b-a)+1)
	return a + time.Duration(hi)
}

// spread returns a duration in [a, b] whose order of magnitude is what is even:
// short ones are as likely as long ones.
func (r *random) spread(a, b time.Duration) time.Duration {
	octaves := bits.Len64(uint64(b / a))
	top := min(a<<(r.below(octaves)+1), b)
	return r.between(max(a, top/2), top)
}

func pick[T any](r *random, from ...T) T { return from[r.below(len(from))] }
