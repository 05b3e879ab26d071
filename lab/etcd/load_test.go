package etcd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// store plays an etcd member's gateway: as much of one as load and checker
// use, with every third write failing after it was carried out.
type store struct {
	mu       sync.Mutex
	revision int64
	items    []Item
}

func (s *store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var q struct {
		Key, Value []byte
		Limit      int `json:"limit,string"`
	}
	json.NewDecoder(r.Body).Decode(&q)
	h := func() string {
		return fmt.Sprintf(`"header":{"cluster_id":"1","member_id":"11","revision":"%d","raft_term":"2"}`, s.revision)
	}
	switch r.URL.Path {
	case "/v3/kv/put":
		s.revision++
		s.items = append(s.items, Item{string(q.Key), string(q.Value), s.revision})
		if s.revision%3 == 0 {
			http.Error(w, `{"error":"etcdserver: request timed out"}`, http.StatusGatewayTimeout)
			return
		}
		fmt.Fprintf(w, "{%s}", h())
	case "/v3/kv/range":
		s.page(w, h(), string(q.Key), q.Limit)
	case "/v3/maintenance/status":
		fmt.Fprintf(w, `{%s,"leader":"11","raftTerm":"2"}`, h())
	case "/v3/maintenance/hash":
		fmt.Fprintf(w, `{%s,"hash":%d,"compact_revision":"-1"}`, h(), len(s.items))
	case "/v3/cluster/member/list":
		fmt.Fprintf(w, `{%s,"members":[{"ID":"11","name":"n1"}]}`, h())
	}
}

func (s *store) page(w http.ResponseWriter, h, from string, limit int) {
	var kvs []string
	more := false
	for _, it := range s.items { // one worker: in the order of keys
		if it.Key >= from && strings.HasPrefix(it.Key, KeyPrefix) {
			if more = len(kvs) == limit; more {
				break
			}
			key, _ := json.Marshal([]byte(it.Key))
			value, _ := json.Marshal([]byte(it.Value))
			kvs = append(kvs, fmt.Sprintf(`{"key":%s,"value":%s,"mod_revision":"%d"}`, key, value, it.Revision))
		}
	}
	fmt.Fprintf(w, `{%s,"kvs":[%s],"more":%v}`, h, strings.Join(kvs, ","), more)
}

func TestLoadAndVerify(t *testing.T) {
	s := &store{}
	srv := httptest.NewServer(s)
	defer srv.Close()
	endpoint := strings.TrimPrefix(srv.URL, "http://")
	ctx, cancel := context.WithCancel(t.Context())
	journal := &limited{left: 3*page + 300, full: cancel}
	if err := Load(ctx, LoadOptions{Endpoints: []string{endpoint}, Workers: 1, Interval: time.Microsecond}, journal); err != nil {
		t.Fatal(err)
	}
	j, err := ReadJournal(&journal.buf)
	if err != nil {
		t.Fatal(err)
	}
	c := NewClient(endpoint, nil)
	defer c.Close()
	before, err := ReadStatus(t.Context(), []*Client{c})
	if err != nil {
		t.Fatal(err)
	}
	items, _, err := c.Range(t.Context(), KeyPrefix)
	if err != nil || len(items) <= page {
		t.Fatalf("%d keys, want more than a page of %d; %v", len(items), page, err)
	}
	s.mu.Lock()
	s.revision += 3 - s.revision%3 // the next write does not fail
	s.mu.Unlock()
	list, err := Verify(t.Context(), []*Client{c}, Claim{Before: before, Journal: j, Began: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	if !list.OK() {
		t.Errorf("\n%s", list)
	}
}

// limited calls full when it has been written to a number of times.
type limited struct {
	buf  bytes.Buffer
	left int
	full func()
}

func (l *limited) Write(p []byte) (int, error) {
	if l.left--; l.left == 0 {
		l.full()
	}
	return l.buf.Write(p)
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("disk full") }

// What cannot be put on record must not be written.
func TestLoadEndsWithoutJournal(t *testing.T) {
	s := &store{}
	srv := httptest.NewServer(s)
	defer srv.Close()
	err := Load(t.Context(), LoadOptions{Endpoints: []string{strings.TrimPrefix(srv.URL, "http://")}, Workers: 2}, brokenWriter{})
	if err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("Load: %v, want the journal's error", err)
	}
	if len(s.items) > 0 {
		t.Errorf("%d writes that are on no record", len(s.items))
	}
}
