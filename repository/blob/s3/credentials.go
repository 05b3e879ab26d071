package s3

import (
	"errors"
	"fmt"
	"os"

	"github.com/minio/minio-go/v7/pkg/credentials"
)

const setCredentials = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a file with ?credentials=FILE or a section of ~/.aws/credentials with ?profile=NAME"

// provide finds the credentials now, so that a missing one is not taken for a
// refusal by the server later. Those that expire are fetched again by
// minio-go.
func (c Config) provide() (*credentials.Credentials, error) {
	if c.Credentials != "" {
		if _, err := os.Stat(c.Credentials); err != nil {
			return nil, fmt.Errorf("credentials: %w", err)
		}
	}
	providers := []credentials.Provider{&credentials.FileAWSCredentials{Filename: c.Credentials, Profile: c.Profile}}
	if c.Credentials == "" && c.Profile == "" {
		providers = append([]credentials.Provider{&credentials.EnvAWS{}}, providers...)
	}
	creds := credentials.NewChainCredentials(providers)
	v, err := creds.GetWithContext(nil)
	if err != nil {
		return nil, fmt.Errorf("credentials: %w", err)
	}
	if v.AccessKeyID == "" || v.SecretAccessKey == "" {
		if c.Credentials != "" || c.Profile != "" {
			return nil, fmt.Errorf("no credentials in file %q, profile %q; it needs a section [%s] with aws_access_key_id and aws_secret_access_key",
				c.Credentials, c.Profile, c.section())
		}
		return nil, errors.New("no credentials: " + setCredentials)
	}
	return creds, nil
}

func (c Config) section() string {
	if c.Profile != "" {
		return c.Profile
	}
	if env := os.Getenv("AWS_PROFILE"); env != "" {
		return env
	}
	return "default"
}
