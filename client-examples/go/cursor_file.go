package powerstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// CursorFile keeps the resume token of one consumer in a file, for effects that are not in a database. The file is replaced by
// rename and synced: whatever kills the process, it contains a whole token, the old or the new one. After a kill, the events
// since the last [CursorFile.Store] are delivered again.
type CursorFile struct {
	path  string
	token string
}

// OpenCursorFile reads the file, if it exists. A file without a token is an [ErrPosition]: to start elsewhere would lose posts.
func OpenCursorFile(path string) (*CursorFile, error) {
	cursor := &CursorFile{path: path}
	if info, err := os.Stat(filepath.Dir(path)); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("cannot read the cursor file %s: its directory does not exist", path)
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return cursor, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the cursor file %s: %w", path, withoutPath(err))
	}
	token := bytes.TrimRight(text, " \t\r\n")
	isInvalid := func(r rune) bool { return r < '!' || r > '~' }
	if len(token) == 0 || len(token) > cursorBytesMax || bytes.ContainsFunc(token, isInvalid) {
		return nil, &StoppedError{Kind: ErrPosition, Message: fmt.Sprintf(
			"the cursor file %s does not hold a resume token: move it away to start by --start", path)}
	}
	cursor.token = string(token)
	return cursor, nil
}

// Token in the file; "" if there is none yet.
func (c *CursorFile) Token() string { return c.token }

// Load returns the token, as [Handler.Load] has it.
func (c *CursorFile) Load(context.Context) (string, error) { return c.token, nil }

// Store replaces the token. Call it after the effects of the frame, and of all before it, are durable. An empty token changes
// nothing.
func (c *CursorFile) Store(token string) error {
	if token == "" || token == c.token {
		return nil
	}
	if err := c.replace(token + "\n"); err != nil {
		return fmt.Errorf("cannot write the cursor file %s: %w", c.path, withoutPath(err))
	}
	c.token = token
	return nil
}

func (c *CursorFile) replace(text string) error {
	temporary := c.path + ".new"
	// Left over from a kill; a symlink of this name is not followed.
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
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
	if err := os.Rename(temporary, c.path); err != nil {
		return err
	}
	// A rename is durable once its directory is synced.
	directory, err := os.Open(filepath.Dir(c.path))
	if err != nil {
		return err
	}
	return errors.Join(directory.Sync(), directory.Close())
}
