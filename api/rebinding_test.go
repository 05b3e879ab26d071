package api_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/snapline/snapline/api"
	"github.com/snapline/snapline/api/apitest"
)

// TestForeignNames: a web page's owner can point a name at 127.0.0.1, and then the
// page is of the server's own origin. In clear the name is all that tells it.
func TestForeignNames(t *testing.T) {
	l, err := api.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- api.Serve(ctx, l, newFake(t, apitest.Options{})) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for host, want := range map[string]int{l.Addr().String(): 200, "localhost:7070": 200, "localhost": 200, "[::1]:7070": 200,
		"evil.example:7070": 403, "127.0.0.1.evil.example": 403, "192.0.2.1:7070": 403} {
		r, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+l.Addr().String()+"/v1/groups", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		answer, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != want {
			t.Errorf("as %s: %s, want %d", host, answer.Status, want)
		}
	}
}
