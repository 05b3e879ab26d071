// Package repo keeps snapshots in a directory, so that they survive every
// process of Snapline and can be looked at with ordinary tools. Hosts share a
// repository by mounting the same file system at any path.
//
//	DIR/config.json                     format, id and date of the repository
//	DIR/data/SNAPSHOT/MEMBER.zst        one member's stream, one zstd frame
//	DIR/snapshots/SNAPSHOT.json         the record, with its own digest
//
// A snapshot exists from the moment at which its record has its name: link(2)
// gives it, to one writer only. Everything that the record speaks of has been
// fsynced before. Whatever else a crash leaves is not a snapshot, is not
// listed, and goes with Delete. Names that begin with a dot are unfinished or
// on their way out.
//
// A record file is one line, made for sha256sum and jq:
//
//	{"sha256":"<hex digest of the record's bytes>","record":{"format":1,"id":"etcd-7",…}}
package repo
