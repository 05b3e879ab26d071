package api

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/snapline/snapline"
)

func (c *Client) Protect(ctx context.Context, r snapline.ProtectRequest) (snapline.GroupStatus, error) {
	var s snapline.GroupStatus
	err := c.do(ctx, http.MethodPut, protectionPath(r.Group), protectBody{EveryMS: r.EveryMS, Keep: r.Keep, MaxLossMS: r.MaxLossMS}, &s)
	return s, err
}

func (c *Client) Unprotect(ctx context.Context, g snapline.GroupName) error {
	return c.do(ctx, http.MethodDelete, protectionPath(g), nil, nil)
}

func (c *Client) Recover(ctx context.Context, r snapline.RecoverRequest) (snapline.Operation, error) {
	var o snapline.Operation
	err := c.do(ctx, http.MethodPost, recoveryPath(r), nil, &o)
	return o, err
}

func (c *Client) PlanRecovery(ctx context.Context, r snapline.RecoverRequest) (snapline.RecoveryPlan, error) {
	return get[snapline.RecoveryPlan](ctx, c, recoveryPath(r))
}

func (c *Client) Drain(ctx context.Context, r snapline.DrainRequest) (snapline.Operation, error) {
	var o snapline.Operation
	err := c.do(ctx, http.MethodPut, drainPath(r.Host), drainBody{DeadlineMS: r.DeadlineMS}, &o)
	return o, err
}

func (c *Client) Undrain(ctx context.Context, h snapline.HostName) error {
	return c.do(ctx, http.MethodDelete, drainPath(h), nil, nil)
}

func protectionPath(g snapline.GroupName) string {
	return "/v1/groups/" + url.PathEscape(string(g)) + "/protection"
}

func recoveryPath(r snapline.RecoverRequest) string {
	path := "/v1/groups/" + url.PathEscape(string(r.Group)) + "/recovery"
	if len(r.Dead) == 0 {
		return path
	}
	var dead []string
	for _, h := range r.Dead {
		dead = append(dead, string(h))
	}
	return path + "?" + url.Values{"dead": {strings.Join(dead, ",")}}.Encode()
}

func drainPath(h snapline.HostName) string {
	return "/v1/hosts/" + url.PathEscape(string(h)) + "/drain"
}
