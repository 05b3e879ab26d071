package sim

import (
	"fmt"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/protocol"
)

// instant is a local snapshot: a member's place in the order of everything that
// VMs do, and the round that it was made for.
type instant struct {
	member int
	round  snapline.Round
	order  uint64
	state  any // of the guest
}

// repository keeps captured data by digest, and records.
type repository struct {
	data    map[string]instant // by digest
	records map[snapline.Round]protocol.Record
	// ever holds every record that existed at any time: each could have been
	// restored.
	ever []protocol.Record
}

func newRepository() *repository {
	return &repository{data: map[string]instant{}, records: map[snapline.Round]protocol.Record{}}
}

// put makes one member's data durable and returns its digest.
func (r *repository) put(i instant) string {
	d := fmt.Sprintf("n%d-%d-%d", i.member+1, i.round, i.order)
	r.data[d] = i
	return d
}

// commit creates the record; it must not exist yet.
func (r *repository) commit(rec protocol.Record) error {
	if _, ok := r.records[rec.Round]; ok {
		return snapline.ErrExists
	}
	r.records[rec.Round] = rec
	r.ever = append(r.ever, rec)
	return nil
}

// discard removes the record first, then the data.
func (r *repository) discard(round snapline.Round) {
	delete(r.records, round)
	for d, i := range r.data {
		if i.round == round {
			delete(r.data, d)
		}
	}
}
