package powerstream

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func open(t *testing.T, path string) *CursorFile {
	t.Helper()
	cursor, err := OpenCursorFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return cursor
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestTokenIsReplacedWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cursor")
	cursor := open(t, path)
	victim := filepath.Join(t.TempDir(), "victim")
	write(t, victim, "precious")
	if err := os.Symlink(victim, path+".new"); err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{"one", "", "two", "two"} {
		if err := cursor.Store(token); err != nil {
			t.Fatal(err)
		}
	}
	if got := read(t, path); got != "two\n" || open(t, path).Token() != "two" {
		t.Errorf("%q", got)
	}
	if got := read(t, victim); got != "precious" {
		t.Errorf("a symlink was followed: %q", got)
	}
}

func TestFileWithoutTokenIsRejectedAndKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cursor")
	for _, text := range []string{"", "\n", "two words", "b\x00nary", "one\ntwo\n", strings.Repeat("x", cursorBytesMax+1)} {
		write(t, path, text)
		if _, err := OpenCursorFile(path); !errors.Is(err, ErrPosition) {
			t.Errorf("%q: %v", text, err)
		}
		if got := read(t, path); got != text {
			t.Errorf("%q was replaced by %q", text, got)
		}
	}
}

func TestFailedWriteLeavesOldToken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cursor")
	cursor := open(t, path)
	if err := cursor.Store("old"); err != nil {
		t.Fatal(err)
	}
	// A directory that is not empty, in place of the new file.
	if err := os.MkdirAll(path+".new/full", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := cursor.Store("new"); err == nil || read(t, path) != "old\n" || cursor.Token() != "old" {
		t.Errorf("%v, %q", err, cursor.Token())
	}
}
