package lab

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/snapline/snapline/lab/topology"
)

// s3Name is the S3 server's name among the daemons.
const s3Name = "s3"

// s3Address is where it listens, for coordinator and agents.
var s3Address = net.JoinHostPort(topology.SwitchAddress, "7480")

// s3Bucket is the one bucket.
const s3Bucket = "snapline"

// startS3 starts versitygw in the switch's namespace on a folder of the lab's,
// and makes it the place of the lab's repository.
func (l *Lab) startS3(ctx context.Context, program string) error {
	// A folder of versitygw's POSIX back end is a bucket.
	for _, d := range []string{l.path("s3", "data", s3Bucket), l.path("s3", "meta")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return err
		}
	}
	user, secret := "lab", strings.ToLower(rand.Text())
	id, err := detach(l.Switch(), l.Log(s3Name), []string{"ROOT_ACCESS_KEY=" + user, "ROOT_SECRET_KEY=" + secret},
		program, "--port", s3Address, "--keep-alive", "--quiet", "posix", "--sidecar", l.path("s3", "meta"), l.path("s3", "data"))
	if err != nil {
		return fmt.Errorf("start S3 server: %w", err)
	}
	err = l.change(func(r *record) {
		r.Daemons[s3Name] = id
		r.Repository = "s3://" + s3Bucket + "?endpoint=http://" + s3Address
		r.Env = []string{"AWS_ACCESS_KEY_ID=" + user, "AWS_SECRET_ACCESS_KEY=" + secret}
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	err = await(ctx, 20*time.Millisecond, func() error {
		if !id.alive() {
			cancel()
			return errors.New("it has ended")
		}
		c, err := l.Switch().DialContext(ctx, "tcp", s3Address)
		if err == nil {
			c.Close()
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("start S3 server: %w; %s", err, tail(l.Log(s3Name)))
	}
	return nil
}
