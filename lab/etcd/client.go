package etcd

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// Dial connects as net.Dialer.DialContext does; a lab passes one that dials
// from inside the switch's namespace.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// Client asks one etcd member. Safe for use from several goroutines.
type Client struct {
	endpoint string
	http     *http.Client
}

// NewClient returns a client of the member at endpoint ("10.77.0.11:2379").
// dial may be nil. Call Close when done.
func NewClient(endpoint string, dial Dial) *Client {
	t := &http.Transport{DialContext: dial, MaxIdleConnsPerHost: 64, IdleConnTimeout: time.Minute}
	return &Client{endpoint: endpoint, http: &http.Client{Transport: t}}
}

// Close lets go of the idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// header comes with every answer.
type header struct {
	ClusterID uint64 `json:"cluster_id,string"`
	MemberID  uint64 `json:"member_id,string"`
	Revision  int64  `json:"revision,string"`
	RaftTerm  uint64 `json:"raft_term,string"`
}

// call sends a question and decodes the answer.
func (c *Client) call(ctx context.Context, path string, question, answer any) error {
	body, err := json.Marshal(question)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+c.endpoint+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("etcd: %w", err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("etcd %s at %s: %w", path, c.endpoint, err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("etcd %s at %s: %s: %s", path, c.endpoint, resp.Status, strings.TrimSpace(string(data)))
	}
	if err := json.Unmarshal(data, answer); err != nil {
		return fmt.Errorf("etcd %s at %s: %w", path, c.endpoint, err)
	}
	return nil
}

// Put writes a key and returns the store's revision that the write made.
func (c *Client) Put(ctx context.Context, key, value string) (revision int64, err error) {
	question := struct {
		Key   []byte `json:"key"`
		Value []byte `json:"value"`
	}{[]byte(key), []byte(value)}
	var answer struct{ Header header }
	if err := c.call(ctx, "/v3/kv/put", question, &answer); err != nil {
		return 0, err
	}
	return answer.Header.Revision, nil
}

// Item is a key as the store holds it.
type Item struct {
	Key, Value string
	// Revision is the one that last wrote the key.
	Revision int64
}

// page is how many keys one question asks for; it keeps an answer well below
// gRPC's default message limit of 4 MiB.
const page = 2000

// Range returns every key that begins with prefix, and the revision of the
// store that the answer shows.
func (c *Client) Range(ctx context.Context, prefix string) (items []Item, revision int64, err error) {
	type question struct {
		Key      []byte `json:"key"`
		End      []byte `json:"range_end"`
		Limit    int64  `json:"limit,string"`
		Revision int64  `json:"revision,string"`
	}
	type answer struct {
		Header header
		KVs    []struct {
			Key, Value  []byte
			ModRevision int64 `json:"mod_revision,string"`
		} `json:"kvs"`
		More bool
	}
	end := []byte(prefix)
	end[len(end)-1]++
	for from := []byte(prefix); ; {
		var a answer
		if err := c.call(ctx, "/v3/kv/range", question{from, end, page, revision}, &a); err != nil {
			return nil, 0, err
		}
		if revision == 0 {
			// Further pages come from the same revision as the first.
			revision = a.Header.Revision
		}
		for _, kv := range a.KVs {
			items = append(items, Item{string(kv.Key), string(kv.Value), kv.ModRevision})
		}
		if !a.More {
			return items, revision, nil
		}
		from = append([]byte(items[len(items)-1].Key), 0)
	}
}
