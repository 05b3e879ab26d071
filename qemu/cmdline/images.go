package cmdline

import (
	"encoding/json"
	"strings"
)

// bareImages are the options whose whole argument is an image's name. QEMU
// takes it as it stands: a comma in it is not doubled.
var bareImages = map[string]bool{
	"": true, "hda": true, "hdb": true, "hdc": true, "hdd": true, "fda": true, "fdb": true,
	"cdrom": true, "sd": true, "mtdblock": true, "pflash": true,
}

// Mentions reports whether the command line names the image of that absolute
// path; relative names in it start from dir. One that is only named in a file
// (-readconfig) is not.
func Mentions(opts []Option, dir, path string) bool {
	found := false
	for _, o := range opts {
		mapImages(o, func(name string) string {
			found = found || absolute(dir, name) == path
			return name
		})
	}
	return found
}

// mapImages passes every plain file name that an option gives a block device,
// or the file below one, through f and returns the option's value with what
// came back. Names of another protocol (nbd:, https:, …) are left alone.
func mapImages(o Option, f func(name string) string) string {
	switch {
	case bareImages[o.Name]:
		return mapName(o.Value, f)
	case o.Name == "blockdev" && strings.HasPrefix(o.Value, "{"):
		return mapJSON(o.Value, f)
	case o.Name != "blockdev" && o.Name != "drive":
		return o.Value
	}
	params, changed := ParseParams(o.Value), false
	for i, p := range params {
		if p.Bare || !isFilename(p.Key) && (o.Name != "drive" || p.Key != "file") {
			continue
		}
		params[i].Value = mapName(p.Value, f)
		changed = changed || params[i].Value != p.Value
	}
	if !changed {
		return o.Value
	}
	return params.String()
}

// isFilename knows the key of the drivers that open files, at any depth:
// "file.filename", "backing.file.filename".
func isFilename(key string) bool {
	return key == "filename" || strings.HasSuffix(key, ".filename")
}

// mapName handles one name: a path, "file:PATH", or "json:{…}".
func mapName(name string, f func(string) string) string {
	if object, ok := strings.CutPrefix(name, "json:"); ok {
		return "json:" + mapJSON(object, f)
	}
	plain := strings.TrimPrefix(name, "file:")
	if scheme, _, has := strings.Cut(plain, ":"); plain == "" || has && !strings.Contains(scheme, "/") && plain == name {
		return name
	}
	if to := f(plain); to != plain {
		return to
	}
	return name
}

// mapJSON exchanges file names in an object and leaves every other byte as it
// is. What is no JSON is left alone; QEMU will refuse it.
func mapJSON(s string, f func(string) string) string {
	if !json.Valid([]byte(s)) {
		return s
	}
	var out strings.Builder
	d := json.NewDecoder(strings.NewReader(s))
	d.UseNumber() // a number that float64 cannot hold is no error here
	var nesting []byte
	isKey, key := false, ""
	for copied := 0; ; {
		before := int(d.InputOffset())
		token, err := d.Token()
		if err != nil {
			return out.String() + s[copied:]
		}
		end := int(d.InputOffset())
		switch t := token.(type) {
		case json.Delim:
			switch t {
			case '{', '[':
				nesting = append(nesting, byte(t))
			default:
				nesting = nesting[:len(nesting)-1]
			}
			isKey, key = len(nesting) > 0 && nesting[len(nesting)-1] == '{', ""
			continue
		case string:
			if isKey {
				isKey, key = false, t
				continue
			}
			if !isFilename(key) {
				break
			}
			if to := mapName(t, f); to != t {
				quoted, _ := json.Marshal(to) // a string cannot fail
				start := before + strings.IndexByte(s[before:end], '"')
				out.WriteString(s[copied:start])
				out.Write(quoted)
				copied = end
			}
		}
		isKey = len(nesting) > 0 && nesting[len(nesting)-1] == '{'
	}
}
