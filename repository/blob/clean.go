package blob

import "context"

// Cleaner is a Store that can tell what dead writers have left half written,
// and remove it. It never looks at ages, and never touches a blob.
type Cleaner interface {
	Clean(ctx context.Context) (files int, bytes int64, err error)
}

// Clean cleans a store that needs it; for others, such as a bucket, it does
// nothing.
func Clean(ctx context.Context, s Store) (files int, bytes int64, err error) {
	if c, ok := s.(Cleaner); ok {
		return c.Clean(ctx)
	}
	return 0, 0, nil
}
