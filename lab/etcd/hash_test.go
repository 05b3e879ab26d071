package etcd

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/snapline/snapline/lab/check"
)

// member answers with a hash, the first few times with another one, as a
// member does that is behind.
func member(t *testing.T, hash uint32, behind int32) *Client {
	var asked atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		now := hash
		if asked.Add(1) <= behind {
			now++
		}
		fmt.Fprintf(w, `{"hash":%d,"header":{"revision":"7"}}`, now)
	}))
	t.Cleanup(srv.Close)
	return NewClient(strings.TrimPrefix(srv.URL, "http://"), nil)
}

func TestCompareHashes(t *testing.T) {
	for name, c := range map[string]struct {
		clients []*Client
		ok      bool
	}{
		"same":      {[]*Client{member(t, 7, 0), member(t, 7, 2), member(t, 7, 0)}, true},
		"different": {[]*Client{member(t, 7, 0), member(t, 7, 0), member(t, 8, 0)}, false},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		var list check.List
		compareHashes(ctx, &list, c.clients)
		if len(list) != 1 || list.OK() != c.ok {
			t.Errorf("%s: %v", name, list)
		}
	}
}
