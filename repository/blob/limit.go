package blob

import (
	"context"
	"io"

	"golang.org/x/time/rate"
)

// Limit slows down what is written through the store to so many bytes a
// second, over all writers together; 0 or less is no limit. What a broken
// connection makes the store send again counts again.
func Limit(s Store, bytesPerSecond int64) Store {
	if bytesPerSecond <= 0 {
		return s
	}
	return &limited{Store: s, limiter: rate.NewLimiter(rate.Limit(bytesPerSecond), burst(bytesPerSecond))}
}

// burst is what may go at once: a sixteenth of a second's worth, for an even
// flow, but no crumbs.
func burst(bytesPerSecond int64) int {
	return int(min(max(bytesPerSecond/16, 4<<10), 1<<20))
}

type limited struct {
	Store
	limiter *rate.Limiter
}

func (l *limited) Put(ctx context.Context, name string, size int64, r io.ReadSeeker) error {
	p := &paced{ReadSeeker: r, ctx: ctx, limiter: l.limiter}
	if at, ok := r.(io.ReaderAt); ok {
		return l.Store.Put(ctx, name, size, &pacedAt{paced: p, at: at})
	}
	return l.Store.Put(ctx, name, size, p)
}

func (l *limited) Create(ctx context.Context, name string, data []byte) error {
	if err := wait(ctx, l.limiter, len(data)); err != nil {
		return err
	}
	return l.Store.Create(ctx, name, data)
}

func (l *limited) Close() error { return Close(l.Store) }

func (l *limited) Clean(ctx context.Context) (files int, bytes int64, err error) {
	return Clean(ctx, l.Store)
}

// wait takes n bytes from the limiter, which gives no more than a burst at once.
func wait(ctx context.Context, l *rate.Limiter, n int) error {
	for n > 0 {
		step := min(n, l.Burst())
		if err := l.WaitN(ctx, step); err != nil {
			return err
		}
		n -= step
	}
	return nil
}

// paced is a source that is read no faster than the limiter allows.
type paced struct {
	io.ReadSeeker
	ctx     context.Context // of the one Put that reads
	limiter *rate.Limiter
}

func (p *paced) Read(b []byte) (int, error) {
	n, err := p.ReadSeeker.Read(b[:min(len(b), p.limiter.Burst())])
	if werr := wait(p.ctx, p.limiter, n); werr != nil {
		return 0, werr
	}
	return n, err
}

func (p *paced) unpaced() io.ReadSeeker { return p.ReadSeeker }

// pacedAt keeps the source's ability to be read at several places at once.
type pacedAt struct {
	*paced
	at io.ReaderAt
}

func (p *pacedAt) ReadAt(b []byte, off int64) (int, error) {
	done := 0
	for done < len(b) {
		n, err := p.at.ReadAt(b[done:min(len(b), done+p.limiter.Burst())], off+int64(done))
		if werr := wait(p.ctx, p.limiter, n); werr != nil {
			return done, werr
		}
		done += n
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// Unpaced is the source of a Put without Limit's brake, for a pass over the
// data that writes nothing, such as a checksum.
func Unpaced(r io.ReadSeeker) io.ReadSeeker {
	if p, ok := r.(interface{ unpaced() io.ReadSeeker }); ok {
		return p.unpaced()
	}
	return r
}
