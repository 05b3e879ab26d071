package s3

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/minio/minio-go/v7/pkg/s3utils"

	"github.com/snapline/snapline/repository/blob"
)

// Config is a location in the form
//
//	s3://BUCKET[/PREFIX][?endpoint=URL&region=NAME&credentials=FILE&profile=NAME&ca=FILE&insecure=true]
//
// without secrets: those come from the environment or from a file.
type Config struct {
	Bucket string
	// Prefix stands before every key, with a '/' in between; empty for none.
	Prefix string
	// Endpoint is the server's URL without a path, http or https.
	Endpoint *url.URL
	// Region is asked of the server when it is empty.
	Region string
	// Credentials is a file like ~/.aws/credentials, and Profile a section in
	// it. When both are empty the environment comes first.
	Credentials, Profile string
	// CA is a file of PEM certificates to trust beside the system's.
	CA string
	// Insecure skips the check of the server's certificate.
	Insecure bool
}

// amazon is the endpoint when none is named.
const amazon = "https://s3.amazonaws.com"

const form = "s3://BUCKET/PREFIX?endpoint=https://HOST:PORT"

// Parse reads a location. Its errors repeat nothing that could be a secret.
func Parse(location string) (Config, error) {
	u, err := url.Parse(location)
	if err != nil || u.Scheme != "s3" || u.Opaque != "" || u.Fragment != "" {
		return Config{}, errors.New("the S3 location is not of the form " + form)
	}
	if u.User != nil {
		return Config{}, errors.New("an S3 location must not hold credentials: they would be logged; " + setCredentials)
	}
	c := Config{Bucket: u.Host, Prefix: strings.Trim(u.Path, "/")}
	if err := s3utils.CheckValidBucketNameStrict(c.Bucket); err != nil {
		return Config{}, fmt.Errorf("bucket %q: %w; the form is %s", c.Bucket, err, form)
	}
	if c.Prefix != "" {
		if err := blob.CheckName(c.Prefix); err != nil || len(c.Prefix) > 255 {
			return Config{}, fmt.Errorf("prefix %.80q: up to 255 of a-z, A-Z, 0-9, '-', '_', '.', with '/' between parts, will do", c.Prefix)
		}
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return Config{}, errors.New("what follows '?' in the S3 location is not of the form name=value&name=value")
	}
	return c, c.options(query)
}

func (c *Config) options(query url.Values) (err error) {
	endpoint := amazon
	for key, values := range query {
		if len(values) != 1 || values[0] == "" {
			return fmt.Errorf("the S3 location must give %.40q one value", key)
		}
		v := values[0]
		switch key {
		case "endpoint":
			endpoint = v
		case "region":
			c.Region = v
		case "credentials":
			c.Credentials = v
		case "profile":
			c.Profile = v
		case "ca":
			c.CA = v
		case "insecure":
			if c.Insecure, err = strconv.ParseBool(v); err != nil {
				return errors.New("insecure= in the S3 location is neither true nor false")
			}
		default:
			return fmt.Errorf("the S3 location has an unknown option %.40q; there are endpoint, region, credentials, profile, ca, insecure", key)
		}
	}
	c.Endpoint, err = parseEndpoint(endpoint)
	return err
}

func parseEndpoint(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.User != nil || u.Opaque != "" || u.RawQuery != "" || u.Fragment != "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, errors.New("endpoint= in the S3 location is not of the form https://HOST[:PORT]")
	}
	if strings.Trim(u.Path, "/") != "" {
		return nil, fmt.Errorf("the endpoint %s://%s must have no path: the bucket comes first, as in %s", u.Scheme, u.Host, form)
	}
	if err := checkHost(u); err != nil {
		return nil, err
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host}, nil
}

func checkHost(u *url.URL) error {
	host := u.Hostname()
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return fmt.Errorf("the endpoint's port %.10q is none", port)
		}
	}
	if net.ParseIP(host) == nil && !s3utils.IsValidDomain(host) {
		return fmt.Errorf("the endpoint's host %.80q is neither a name nor an address", host)
	}
	return nil
}

// String is the location in one spelling, whatever order it was written in.
func (c Config) String() string {
	q := url.Values{}
	for key, v := range map[string]string{"region": c.Region, "credentials": c.Credentials, "profile": c.Profile, "ca": c.CA} {
		if v != "" {
			q.Set(key, v)
		}
	}
	if c.Endpoint != nil && c.Endpoint.String() != amazon {
		q.Set("endpoint", c.Endpoint.String())
	}
	if c.Insecure {
		q.Set("insecure", "true")
	}
	u := url.URL{Scheme: "s3", Host: c.Bucket, RawQuery: strings.NewReplacer("%3A", ":", "%2F", "/").Replace(q.Encode())}
	if c.Prefix != "" {
		u.Path = "/" + c.Prefix
	}
	return u.String()
}
