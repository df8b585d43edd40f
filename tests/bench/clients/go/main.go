// A client of the fan-out benchmark: ADDRESS SUBSCRIBERS EVENTS. Prints `ready` when all its subscribers are at the tip, and
// then how many events the slowest of them has. What is missing, repeated or out of order ends it.
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	gatewayv1 "github.com/powerstream-gateway/powerstream-gateway/client-examples/go/gen/powerstream/gateway/v1"
)

// A gateway's message may have 2 MiB.
const messageBytesMax = 4 << 20

type report struct {
	subscriber int
	count      uint64
	err        error
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) != 3 {
		return fmt.Errorf("ADDRESS SUBSCRIBERS EVENTS")
	}
	subscribers, err := strconv.Atoi(arguments[1])
	if err != nil {
		return err
	}
	events, err := strconv.ParseUint(arguments[2], 10, 64)
	if err != nil {
		return err
	}
	reports := make(chan report, 64)
	for subscriber := range subscribers {
		go func() {
			if err := read(arguments[0], subscriber, events, reports); err != nil {
				reports <- report{err: err}
			}
		}()
	}
	counts := make(map[int]uint64)
	printed := false
	var slowest uint64
	for !printed || slowest < events {
		next := <-reports
		if next.err != nil {
			return next.err
		}
		counts[next.subscriber] = next.count
		if len(counts) < subscribers {
			continue
		}
		least := next.count
		for _, count := range counts {
			least = min(least, count)
		}
		if !printed {
			printed = true
			fmt.Println("ready")
		}
		if least != slowest {
			slowest = least
			fmt.Println(slowest)
		}
	}
	return nil
}

func read(address string, subscriber int, events uint64, reports chan<- report) error {
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(messageBytesMax)))
	if err != nil {
		return err
	}
	defer connection.Close()
	stream, err := gatewayv1.NewStreamServiceClient(connection).Subscribe(context.Background(), &gatewayv1.SubscribeRequest{})
	if err != nil {
		return err
	}
	var count, sequence uint64
	for count < events {
		response, err := stream.Recv()
		if err != nil {
			return err
		}
		if response.GetCaughtUp() != nil {
			reports <- report{subscriber: subscriber}
		}
		batch := response.GetEventBatch()
		if batch == nil {
			continue
		}
		for _, event := range batch.GetEvents() {
			if event.GetSequence() <= sequence {
				return fmt.Errorf("sequence %d after %d", event.GetSequence(), sequence)
			}
			sequence = event.GetSequence()
			count++
		}
		if batch.GetDeliveredTotal() != count {
			return fmt.Errorf("delivered_total is %d, got %d", batch.GetDeliveredTotal(), count)
		}
		reports <- report{subscriber: subscriber, count: count}
	}
	return nil
}
