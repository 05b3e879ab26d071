package etcd

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/snapline/snapline/lab/check"
)

// member answers with a hash, the first few times with etcd's error of a
// member that is behind.
func member(t *testing.T, hash uint32, behind int32) *Client {
	var asked atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) <= behind {
			http.Error(w, `{"error":"etcdserver: mvcc: required revision is a future revision"}`, http.StatusBadRequest)
			return
		}
		fmt.Fprintf(w, `{"hash":%d}`, hash)
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
		var list check.List
		compareHashes(t.Context(), &list, c.clients, 12)
		if len(list) != 1 || list.OK() != c.ok {
			t.Errorf("%s: %v", name, list)
		}
	}
}
