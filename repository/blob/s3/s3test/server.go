// Package s3test starts a real S3 server, versitygw on a folder, so that tests
// hold against a server that we have not written.
package s3test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// Server is a running S3 server on the loopback interface.
type Server struct {
	Endpoint  string // http://127.0.0.1:PORT
	AccessKey string
	SecretKey string
	// Dir is the folder that holds a folder for each bucket, with a file for
	// each object: what a test damages behind the server's back.
	Dir string

	address string
}

// Start runs a server until the end of the test. The first call on a machine
// compiles it, which takes up to two minutes.
func Start(t testing.TB) *Server {
	t.Helper()
	bin, err := Program()
	if err != nil {
		t.Fatalf("build the S3 server: %v", err)
	}
	root := t.TempDir()
	s := &Server{AccessKey: "snapline-test", SecretKey: rand.Text(), Dir: filepath.Join(root, "data")}
	for _, d := range []string{"data", "meta"} {
		if err := os.Mkdir(filepath.Join(root, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	log := filepath.Join(root, "log")
	// Metadata in a folder of its own: not each file system has user attributes.
	cmd := exec.Command(bin, "--port", "127.0.0.1:0", "--health", "/healthy", "--keep-alive", "--quiet",
		"posix", "--sidecar", filepath.Join(root, "meta"), s.Dir)
	cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+s.AccessKey, "ROOT_SECRET_KEY="+s.SecretKey)
	gone, err := run(t, cmd, log)
	if err != nil {
		t.Fatalf("start the S3 server: %v", err)
	}
	if err := s.await(t.Context(), cmd.Process.Pid, gone); err != nil {
		out, _ := os.ReadFile(log) // may be missing: then there is nothing to show
		t.Fatalf("the S3 server did not start: %v\n%s", err, out)
	}
	return s
}

// run starts the command and has it killed, by its process id, at the end of
// the test, or when this process dies. gone is closed when it has ended.
func run(t testing.TB, cmd *exec.Cmd, log string) (gone chan struct{}, err error) {
	out, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	gone = make(chan struct{})
	go func() {
		// The signal comes when the thread ends that started the process (prctl(2),
		// PR_SET_PDEATHSIG), so it must not end before.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(gone)
		defer out.Close()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // it is killed; nothing to learn
		}
	}()
	if err := <-started; err != nil {
		return gone, err
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		<-gone
	})
	return gone, nil
}

// await finds the port that the kernel has picked, and waits for an answer.
func (s *Server) await(ctx context.Context, pid int, gone <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := s.ready(ctx, client, pid)
		if err == nil {
			return nil
		}
		select {
		case <-gone:
			return errors.New("it has ended")
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}

func (s *Server) ready(ctx context.Context, client *http.Client, pid int) error {
	var err error
	if s.address, err = listening(pid); err != nil {
		return err
	}
	s.Endpoint = "http://" + s.address
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Endpoint+"/healthy", nil)
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("its health is %s", res.Status)
	}
	return nil
}

// Bucket makes an empty bucket and returns its name.
func (s *Server) Bucket(t testing.TB) string {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true}
	client, err := minio.New(s.address, &minio.Options{
		Creds: credentials.NewStaticV4(s.AccessKey, s.SecretKey, ""), Region: "us-east-1", Transport: transport,
	})
	if err != nil {
		t.Fatal(err)
	}
	name := "test-" + strings.ToLower(rand.Text())
	if err := client.MakeBucket(t.Context(), name, minio.MakeBucketOptions{}); err != nil {
		t.Fatalf("make bucket %s: %v", name, err)
	}
	return name
}

// Setenv puts the server's credentials into the environment of the test, and
// keeps the user's own out.
func (s *Server) Setenv(t testing.TB) {
	t.Helper()
	for key, v := range map[string]string{
		"AWS_ACCESS_KEY_ID": s.AccessKey, "AWS_SECRET_ACCESS_KEY": s.SecretKey, "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "",
		"AWS_ACCESS_KEY": "", "AWS_SECRET_KEY": "", "AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
	} {
		t.Setenv(key, v)
	}
}

// Location is a new bucket as a user writes it, with an optional prefix.
func (s *Server) Location(t testing.TB, prefix string) string {
	t.Helper()
	return At(s.Endpoint, s.Bucket(t), prefix)
}

// At is the location of a bucket at an endpoint, maybe that of a Proxy.
func At(endpoint, bucket, prefix string) string {
	if prefix != "" {
		bucket += "/" + prefix
	}
	return "s3://" + bucket + "?endpoint=" + endpoint
}
