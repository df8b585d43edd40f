// A consumer of powerstream-gateway that reconnects and resumes, as PROTOCOL.md specifies.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	err := run()
	var stop *stopped
	switch {
	case err == nil:
	case errors.As(err, &stop):
		if stop.err != nil {
			printStatus("error: %v", stop.err)
		}
		os.Exit(stop.code)
	default:
		printStatus("error: %v", err)
		os.Exit(exitFailed)
	}
}

// run is LOAD, and then the loop.
func run() error {
	config, err := load(os.Args[1:], os.Getenv)
	if err != nil {
		return err
	}
	if _, err := readCredential(config); err != nil {
		return &stopped{exitUsage, err}
	}
	cursor, err := openCursorFile(config.cursorFile)
	if err != nil {
		return err
	}
	if config.cursorFile == "" {
		printStatus("no --cursor-file: the resume token is in memory only, the next run starts by --start")
	}

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	context.AfterFunc(ctx, func() {
		// A second signal ends the process as the system does it.
		stop()
		// The reader of the output may have stopped reading: the current frame is then not stored.
		time.AfterFunc(stopWaitMax, func() { os.Exit(exitDone) })
	})
	consumer := &consumer{config: config, cursor: cursor, handler: newPrinter(os.Stdout), left: config.count}
	return consumer.run(ctx)
}

func printStatus(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
}
