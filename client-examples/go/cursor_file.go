package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// cursorFile is the one place of the resume token: a file, or memory where there is no path.
//
// In your service, store the token where the effect of the events is, in the same transaction.
type cursorFile struct {
	path  string
	token string // "" = none yet
}

// openCursorFile refuses a file that holds no token: beginning elsewhere without a word would lose posts.
func openCursorFile(path string) (*cursorFile, error) {
	cursor := &cursorFile{path: path}
	if path == "" {
		return cursor, nil
	}
	if info, err := os.Stat(filepath.Dir(path)); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("cannot read the cursor file %s: its directory does not exist", path)
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return cursor, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the cursor file %s: %w", path, plain(err))
	}
	token := bytes.TrimRight(text, " \t\r\n")
	odd := func(r rune) bool { return r < '!' || r > '~' }
	if len(token) == 0 || len(token) > cursorBytesMax || bytes.ContainsFunc(token, odd) {
		return nil, &stopped{exitPosition, fmt.Errorf(
			"the cursor file %s does not hold a resume token: move it away to start by --start", path)}
	}
	cursor.token = string(token)
	return cursor, nil
}

// store replaces the token as a whole: whatever kills the process, the file holds the old one or this one.
func (c *cursorFile) store(token string) error {
	if token == c.token {
		return nil
	}
	if c.path != "" {
		if err := c.replace(token + "\n"); err != nil {
			return fmt.Errorf("cannot write the cursor file %s: %w", c.path, plain(err))
		}
	}
	c.token = token
	return nil
}

func (c *cursorFile) replace(text string) error {
	fresh := c.path + ".new"
	file, err := os.OpenFile(fresh, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.WriteString(text)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err := os.Rename(fresh, c.path); err != nil {
		return err
	}
	// A rename is on the disk when its directory is.
	directory, err := os.Open(filepath.Dir(c.path))
	if err != nil {
		return err
	}
	return errors.Join(directory.Sync(), directory.Close())
}
