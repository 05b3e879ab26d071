package s3

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for in, want := range map[string]string{
		"s3://bucket":            "s3://bucket",
		"s3://bucket/":           "s3://bucket",
		"s3://bucket/a/b/":       "s3://bucket/a/b",
		"s3://bucket?region=eu":  "s3://bucket?region=eu",
		"s3://bucket?insecure=0": "s3://bucket",
		"s3://b-1.x?endpoint=https://s3.amazonaws.com":                                                        "s3://b-1.x",
		"s3://bucket/p?region=r&endpoint=http://[::1]:9000/&insecure=true&profile=x&ca=/a/b&credentials=/c d": "s3://bucket/p?ca=/a/b&credentials=/c+d&endpoint=http://%5B::1%5D:9000&insecure=true&profile=x&region=r",
	} {
		c, err := Parse(in)
		if err != nil || c.String() != want {
			t.Errorf("Parse(%s) = %s, %v; want %s", in, c, err, want)
			continue
		}
		again, err := Parse(c.String())
		if err != nil || again.String() != want {
			t.Errorf("Parse(%s) = %s, %v", want, again, err)
		}
	}
	for _, in := range []string{
		"", "bucket", "s3:bucket", "s3:///a", "s3://", "S4://bucket", "s3://Bucket_", "s3://ab", "s3://bucket/../x", "s3://bucket/a//b", "s3://bucket/ä", "s3://bucket#x",
		"s3://bucket?endpoint=host:9000", "s3://bucket?endpoint=ftp://host", "s3://bucket?endpoint=http://", "s3://bucket?endpoint=http://host:0",
		"s3://bucket?endpoint=http://host:99999", "s3://bucket?endpoint=http://host/path", "s3://bucket?endpoint=http://host?x=y",
		"s3://bucket?region=", "s3://bucket?region=a&region=b", "s3://bucket?insecure=maybe", "s3://bucket?regoin=x", "s3://bucket?%zz",
	} {
		if c, err := Parse(in); err == nil {
			t.Errorf("Parse(%s) = %s", in, c)
		}
	}
	for _, in := range []string{
		"s3://KEY:hunter2@bucket", "s3://bucket?endpoint=http://KEY:hunter2@host", "s3://bucket?secret=hunter2", "s3://bucket:hunter2", "s3://bucket?endpoint=hunter2", "s3://bucket#hunter2",
	} {
		if c, err := Parse(in); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("Parse(%s) = %s, %v", in, c, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("s3://bucket/prefix?endpoint=https://host:9000&region=eu&insecure=true")
	f.Add("s3://bucket/a/b?ca=%2Fx&profile=p&credentials=/c")
	f.Add("s3://u:p@bucket")
	f.Fuzz(func(t *testing.T, in string) {
		c, err := Parse(in)
		if err != nil {
			return
		}
		again, err := Parse(c.String())
		if err != nil || again.String() != c.String() {
			t.Errorf("%q is read as %q, and that as %q: %v", in, c, again, err)
		}
	})
}
