package powerstream

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
)

// credential is what a session presents: a bearer token, a client certificate with its key, both, or nothing.
type credential struct {
	bearer      string
	certificate []byte
	key         []byte
}

// readCredential reads all files of the credential again: any of them may have been rotated.
func readCredential(config *Config) (credential, error) {
	var read credential
	var err error
	if config.BearerFile != "" {
		if read.bearer, err = readBearer(config.BearerFile); err != nil {
			return credential{}, err
		}
	}
	if config.CertFile != "" {
		if read.certificate, err = readPEM(config.CertFile); err != nil {
			return credential{}, err
		}
		if read.key, err = readPEM(config.KeyFile); err != nil {
			return credential{}, err
		}
	}
	return read, nil
}

func (c credential) equal(other credential) bool {
	return c.bearer == other.bearer && bytes.Equal(c.certificate, other.certificate) && bytes.Equal(c.key, other.key)
}

// readAuthorities returns nil for the authorities of the system.
func readAuthorities(config *Config) (*x509.CertPool, error) {
	if config.CAFile == "" {
		return nil, nil
	}
	pem, err := readFile(config.CAFile)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("cannot read %s: it contains no certificate", config.CAFile)
	}
	return pool, nil
}

func readBearer(path string) (string, error) {
	text, err := readFile(path)
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	line = strings.TrimSpace(line)
	isInvalid := func(r rune) bool { return r < ' ' || r > '~' }
	if line == "" || strings.ContainsFunc(line, isInvalid) {
		return "", fmt.Errorf("cannot read a credential from %s: its first line contains none", path)
	}
	return line, nil
}

func readPEM(path string) ([]byte, error) {
	text, err := readFile(path)
	if err != nil {
		return nil, err
	}
	if !bytes.Contains(text, []byte("-----BEGIN ")) {
		return nil, fmt.Errorf("cannot read a credential from %s: it contains no PEM", path)
	}
	return text, nil
}

func readFile(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", path, withoutPath(err))
	}
	return text, nil
}

// withoutPath returns the cause without the path that package os puts in front.
func withoutPath(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
