package cli

import "testing"

// TestStorageDefaults: an agent keeps packs of a repository that it reaches over
// the network, and none of a directory's, unless it is told.
func TestStorageDefaults(t *testing.T) {
	const bucket = "s3://bucket/p?endpoint=https://s3.host"
	for _, c := range []struct {
		flags storageFlags
		at    string
		dir   string
		bytes int64
	}{
		{storageFlags{}, bucket, "/data/cache", nearBytes},
		{storageFlags{}, "/srv/repo", "/data/cache", 0},
		{storageFlags{cacheSize: "0"}, bucket, "/data/cache", 0},
		{storageFlags{cacheSize: "20GiB", cache: "/fast"}, "/srv/repo", "/fast", 20 << 30},
	} {
		o, err := c.flags.options("/data")
		if err != nil {
			t.Fatal(err)
		}
		if o = c.flags.near(c.at, o); o.CacheDir != c.dir || o.CacheBytes != c.bytes {
			t.Errorf("%+v at %s: %s, %d bytes; want %s, %d", c.flags, c.at, o.CacheDir, o.CacheBytes, c.dir, c.bytes)
		}
	}
}
