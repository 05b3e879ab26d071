package sim

// happening is something that the world does at a moment.
type happening struct {
	at moment
	n  uint64 // of two at the same moment, the one planned first comes first
	do func()
}

// queue is a binary heap of happenings; the earliest is at the root.
type queue []happening

func (a happening) before(b happening) bool {
	return a.at < b.at || (a.at == b.at && a.n < b.n)
}

func (q *queue) push(h happening) {
	s := append(*q, h)
	i := len(s) - 1
	for i > 0 {
		up := (i - 1) / 2
		if !h.before(s[up]) {
			break
		}
		s[i], i = s[up], up
	}
	s[i] = h
	*q = s
}

func (q *queue) pop() happening {
	s := *q
	root, last := s[0], s[len(s)-1]
	s[len(s)-1] = happening{}
	s = s[:len(s)-1]
	for i := 0; len(s) > 0; {
		down := 2*i + 1
		if down+1 < len(s) && s[down+1].before(s[down]) {
			down++
		}
		if down >= len(s) || !s[down].before(last) {
			s[i] = last
			break
		}
		s[i], i = s[down], down
	}
	*q = s
	return root
}
