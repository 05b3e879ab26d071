package api_test

import (
	"encoding/json"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/snapline/snapline"
	"github.com/snapline/snapline/api"
	"github.com/snapline/snapline/api/apitest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestOpenAPI shows every change of the contract as a change of a file.
func TestOpenAPI(t *testing.T) {
	h := api.Server{Service: newFake(t, apitest.Options{})}.Handler()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/openapi.json", nil))
	var doc any
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	got, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	const golden = "testdata/openapi.json"
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("the HTTP API has changed; if that is meant, run: go test ./api -run OpenAPI -update\n%s", diff)
	}
}

// TestRequests sends what a client of ours never would.
func TestRequests(t *testing.T) {
	h := api.Server{Service: newFake(t, apitest.Options{})}.Handler()
	for _, c := range []struct {
		name, method, path, body string
		header                   http.Header
		status                   int
		code                     snapline.Code
		text                     string
	}{
		{"no such path", "GET", "/v1/nosuch", "", nil, 404, snapline.CodeNotFound, "/v1/nosuch"},
		{"no documentation page", "GET", "/docs", "", nil, 404, snapline.CodeNotFound, "/docs"},
		{"no such method", "POST", "/v1/hosts", "", nil, 405, snapline.CodeInvalid, "only GET"},
		{"no such query", "GET", "/v1/snapshots?grup=x", "", nil, 422, snapline.CodeInvalid, "grup"},
		{"not JSON", "POST", "/v1/snapshots", "{", nil, 400, snapline.CodeInvalid, ""},
		{"no body", "POST", "/v1/snapshots", "", nil, 400, snapline.CodeInvalid, "body"},
		{"unknown field", "POST", "/v1/snapshots", `{"group":"g","nte":"x"}`, nil, 422, snapline.CodeInvalid, "nte"},
		{"missing field", "POST", "/v1/snapshots", `{}`, nil, 422, snapline.CodeInvalid, "group"},
		{"wrong type", "POST", "/v1/snapshots", `{"group":7}`, nil, 422, snapline.CodeInvalid, "string"},
		{"no such strategy", "POST", "/v1/snapshots", `{"group":"g","strategy":"magic"}`, nil, 422, snapline.CodeInvalid, "colour"},
		{"another group", "PUT", "/v1/groups/a", `{"group":"b","members":[]}`, nil, 422, snapline.CodeInvalid, `"a"`},
		{"unknown group", "GET", "/v1/groups/a", "", nil, 404, snapline.CodeNotFound, "group a"},
		{"escaped path", "GET", "/v1/groups/..%2f..%2fetc", "", nil, 404, snapline.CodeNotFound, "etc"},
		{"too large", "POST", "/v1/snapshots", `{"group":"` + strings.Repeat("x", 2<<20) + `"}`, nil, 413, snapline.CodeInvalid, "large"},
		{"another site", "DELETE", "/v1/snapshots/g-1", "", http.Header{"Sec-Fetch-Site": {"cross-site"}}, 403, snapline.CodeInvalid, "origin"},
		{"bad event id", "GET", "/v1/operations/x/progress", "", http.Header{"Last-Event-Id": {"x"}}, 422, snapline.CodeInvalid, "Last-Event-ID"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest(c.method, c.path, strings.NewReader(c.body))
			if c.body != "" {
				r.Header.Set("Content-Type", "application/json")
			}
			for k, v := range c.header {
				r.Header[k] = v
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			var p api.Problem
			if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
				t.Fatalf("%v in %q", err, w.Body)
			}
			if w.Code != c.status || p.Status != c.status || p.Code != c.code || w.Header().Get("Content-Type") != "application/problem+json" {
				t.Errorf("status %d, problem %+v, type %s", w.Code, p, w.Header().Get("Content-Type"))
			}
			if !strings.Contains(w.Body.String(), strings.ReplaceAll(c.text, `"`, `\"`)) {
				t.Errorf("%s does not say %q", w.Body, c.text)
			}
		})
	}
}

// TestStranger: what answers at the address may not be a coordinator at all.
func TestStranger(t *testing.T) {
	for status, want := range map[int]snapline.Code{404: snapline.CodeNotFound, 418: snapline.CodeInvalid, 502: snapline.CodeUnavailable, 500: snapline.CodeFailed} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			io.WriteString(w, "<html>hello</html>")
		}))
		_, err := client(t, srv.URL).Hosts(t.Context())
		if e := api.AsError(err); e.Code != want || e.Hint == "" {
			t.Errorf("status %d: %#v, want code %s", status, e, want)
		}
		srv.Close()
	}
}
