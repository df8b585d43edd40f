// Command print prints each post. It starts at the tip again after a restart; during its life it misses none. The library logs
// sessions, gaps and losses.
package main

import (
	"cmp"
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"

	powerstream "github.com/powerstream-gateway/powerstream-gateway/client-examples/go"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	client, err := powerstream.New(powerstream.Config{
		Address:    cmp.Or(os.Getenv("GATEWAY"), "http://127.0.0.1:50051"),
		BearerFile: os.Getenv("BEARER_FILE"),
		Account:    os.Getenv("ACCOUNT"),
		Consumer:   cmp.Or(os.Getenv("CONSUMER"), "print"),
		AnyOf:      strings.FieldsFunc(os.Getenv("FILTER_TAGS"), func(r rune) bool { return r == ',' }),
	})
	if err != nil {
		log.Fatal(err)
	}
	for frame, err := range client.Frames(ctx, "") {
		if err != nil {
			log.Fatal(err)
		}
		if batch, isBatch := frame.(*powerstream.Batch); isBatch {
			for _, event := range batch.Events {
				fmt.Println(event.Json)
			}
		}
	}
}
