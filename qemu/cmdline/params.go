package cmdline

import (
	"encoding/json"
	"fmt"
	"sort"
	"strings"
)

// Param is one key=value of an option's argument. A word without '=' is a Key
// with Bare set: a switch, or the value of the option's implied key.
type Param struct {
	Key, Value string
	Bare       bool
}

// Params is an option's argument: "tap,id=n0,ifname=tap0".
type Params []Param

// ParseParams reads the comma-separated form, in which ",," stands for a comma
// in a value, and the JSON form of flat objects ({"type":"tap"}), which newer
// QEMUs take for some options.
func ParseParams(s string) Params {
	if strings.HasPrefix(s, "{") {
		if p, ok := parseJSON(s); ok {
			return p
		}
	}
	var params Params
	for _, word := range splitCommas(s) {
		if word == "" {
			continue // QEMU skips it, too
		}
		key, value, has := strings.Cut(word, "=")
		params = append(params, Param{Key: key, Value: value, Bare: !has})
	}
	return params
}

// splitCommas splits at single commas and turns doubled ones into one.
func splitCommas(s string) []string {
	var words []string
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] != ',':
			b.WriteByte(s[i])
		case i+1 < len(s) && s[i+1] == ',':
			b.WriteByte(',')
			i++
		default:
			words = append(words, b.String())
			b.Reset()
		}
	}
	return append(words, b.String())
}

func parseJSON(s string) (Params, bool) {
	var object map[string]any
	d := json.NewDecoder(strings.NewReader(s))
	d.UseNumber()
	if d.Decode(&object) != nil {
		return nil, false
	}
	var params Params
	for key, v := range object {
		value := fmt.Sprint(v)
		switch v := v.(type) {
		case bool:
			value = map[bool]string{true: "on", false: "off"}[v]
		case string, json.Number:
		default:
			return nil, false
		}
		params = append(params, Param{Key: key, Value: value})
	}
	sort.Slice(params, func(i, j int) bool { return params[i].Key < params[j].Key })
	return params, true
}

// String is the comma-separated form.
func (p Params) String() string {
	words := make([]string, len(p))
	for i, x := range p {
		words[i] = strings.ReplaceAll(x.Key, ",", ",,")
		if !x.Bare {
			words[i] += "=" + strings.ReplaceAll(x.Value, ",", ",,")
		}
	}
	return strings.Join(words, ",")
}

// Get returns the last value of a key; a bare word counts as "on".
func (p Params) Get(key string) string {
	for i := len(p) - 1; i >= 0; i-- {
		if p[i].Key == key {
			if p[i].Bare {
				return "on"
			}
			return p[i].Value
		}
	}
	return ""
}

// Implied returns the value of the key that the option's first word may leave
// out: "tap" for both "tap,id=x" and "type=tap,id=x".
func (p Params) Implied(key string) string {
	if len(p) > 0 && p[0].Bare {
		return p[0].Key
	}
	return p.Get(key)
}

// Without returns a copy that lacks the given keys.
func (p Params) Without(keys ...string) Params {
	var out Params
next:
	for _, x := range p {
		for _, k := range keys {
			if x.Key == k {
				continue next
			}
		}
		out = append(out, x)
	}
	return out
}

// With returns a copy in which key has the value, once.
func (p Params) With(key, value string) Params {
	return append(p.Without(key), Param{Key: key, Value: value})
}

// WithImplied returns a copy whose implied key, written as the first bare
// word, has the value.
func (p Params) WithImplied(key, value string) Params {
	rest := p
	if len(rest) > 0 && rest[0].Bare {
		rest = rest[1:]
	}
	return append(Params{{Key: value, Bare: true}}, rest.Without(key)...)
}
