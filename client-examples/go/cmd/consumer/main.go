// Command consumer prints posts of powerstream-gateway as lines of JSON, reconnects and resumes: the program that PROTOCOL.md
// specifies, on top of package powerstream.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	powerstream "github.com/powerstream-gateway/powerstream-gateway/client-examples/go"
)

// stopWaitMax is how long a stop may take.
const stopWaitMax = 5 * time.Second

// The exit codes of PROTOCOL.md.
const (
	exitFailed   = 1
	exitUsage    = 2
	exitUnsound  = 3
	exitRefused  = 4
	exitPosition = 5
)

func main() {
	if err := run(); err != nil {
		text := err.Error()
		var stopped *powerstream.StoppedError
		if errors.As(err, &stopped) && stopped.Reason == "POSITION_TOO_OLD" {
			text += "; --resume-policy earliest or latest continues without them"
		}
		printStatus("error: " + text)
		os.Exit(exitCode(err))
	}
}

func exitCode(err error) int {
	switch {
	case errors.Is(err, powerstream.ErrInvalid):
		return exitUsage
	case errors.Is(err, powerstream.ErrUnsound):
		return exitUnsound
	case errors.Is(err, powerstream.ErrRefused):
		return exitRefused
	case errors.Is(err, powerstream.ErrPosition):
		return exitPosition
	}
	return exitFailed
}

func run() error {
	config, err := load(os.Args[1:], os.Getenv)
	if err != nil {
		return invalid(err)
	}
	// The lines of PROTOCOL.md take the place of the log.
	config.client.Logger = slog.New(slog.DiscardHandler)
	config.client.Observer.Disconnected = printDisconnect
	client, err := powerstream.New(config.client)
	if err != nil {
		return err
	}
	if err := client.CheckCredential(); err != nil {
		return invalid(err)
	}
	var cursor *powerstream.CursorFile
	if config.cursorFile == "" {
		printStatus("no --cursor-file: the resume token is in memory only, the next run starts by --start")
	} else if cursor, err = powerstream.OpenCursorFile(config.cursorFile); err != nil {
		return err
	}
	return consume(client, cursor, config.count)
}

// invalid is an error of the flags, the environment or the credential.
func invalid(err error) error {
	return &powerstream.StoppedError{Kind: powerstream.ErrInvalid, Message: err.Error()}
}

// consume ends with nil after a signal, or after count events; 0 = no end.
func consume(client *powerstream.Client, cursor *powerstream.CursorFile, count int64) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	context.AfterFunc(ctx, func() {
		// A second signal ends the process as the system does it.
		stop()
		// The reader of the output may have stopped reading.
		time.AfterFunc(stopWaitMax, func() {
			printStatus("error: stopped within a frame: its token is not stored")
			os.Exit(exitFailed)
		})
	})
	token := ""
	if cursor != nil {
		token = cursor.Token()
	}
	printer, printed := newPrinter(os.Stdout), int64(0)
	for frame, err := range client.Frames(ctx, token) {
		if err != nil {
			return err
		}
		if err := handle(printer, cursor, frame); err != nil {
			return err
		}
		if batch, isBatch := frame.(*powerstream.Batch); isBatch {
			printed += int64(len(batch.Events))
		}
		if count > 0 && printed >= count {
			return nil
		}
	}
	return nil
}

// handle prints the frame first and stores its token afterwards, never in the other order.
func handle(printer *printer, cursor *powerstream.CursorFile, frame powerstream.Frame) error {
	if batch, isBatch := frame.(*powerstream.Batch); isBatch {
		if err := printer.handle(batch); err != nil {
			return fmt.Errorf("cannot write the output: %w", withoutPath(err))
		}
	}
	for _, line := range powerstream.Describe(frame) {
		printStatus(line)
	}
	if frame.Token() == "" {
		return nil
	}
	if err := printer.flush(); err != nil {
		return fmt.Errorf("cannot write the output: %w", withoutPath(err))
	}
	if cursor == nil {
		return nil
	}
	return cursor.Store(frame.Token())
}

func printDisconnect(disconnect powerstream.Disconnect) {
	prefix := "disconnected: "
	if disconnect.IsUnsound {
		prefix = "UNSOUND: "
	}
	printStatus(fmt.Sprintf("%s%s; reconnecting in %.1f s", prefix, powerstream.Printable(disconnect.Cause),
		disconnect.RetryIn.Seconds()))
}

func printStatus(line string) {
	// There is no place to report that stderr cannot be written.
	_, _ = fmt.Fprintln(os.Stderr, line)
}

// withoutPath returns the cause without the path that package os puts in front.
func withoutPath(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
