package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
)

// credential is what CONNECT presents: a token, a client certificate with its key, both, or nothing.
type credential struct {
	token       string
	certificate []byte
	key         []byte
}

// readCredential reads all files of the credential again: any of them may have been rotated.
func readCredential(config *config) (credential, error) {
	var read credential
	var err error
	if config.tokenFile != "" {
		if read.token, err = readToken(config.tokenFile); err != nil {
			return credential{}, err
		}
	}
	if config.certFile != "" {
		if read.certificate, err = readPEM(config.certFile); err != nil {
			return credential{}, err
		}
		if read.key, err = readPEM(config.keyFile); err != nil {
			return credential{}, err
		}
	}
	return read, nil
}

func (c credential) equal(other credential) bool {
	return c.token == other.token && bytes.Equal(c.certificate, other.certificate) && bytes.Equal(c.key, other.key)
}

// readToken gives the first line of the file.
func readToken(path string) (string, error) {
	text, err := readFile(path)
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	line = strings.TrimSpace(line)
	odd := func(r rune) bool { return r < ' ' || r > '~' }
	if line == "" || strings.ContainsFunc(line, odd) {
		return "", fmt.Errorf("cannot read a credential from %s: its first line holds none", path)
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
		return nil, fmt.Errorf("cannot read %s: %w", path, plain(err))
	}
	return text, nil
}

// plain is what went wrong, without the path that os puts in front.
func plain(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
