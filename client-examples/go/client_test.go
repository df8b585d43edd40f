package powerstream

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	gatewayv1 "github.com/powerstream-gateway/powerstream-gateway/client-examples/go/gen/powerstream/gateway/v1"
)

// script is a gateway that sends a list of messages to each call, and records the tokens of the calls.
type script struct {
	gatewayv1.UnimplementedStreamServiceServer
	mutex  sync.Mutex
	calls  [][]*gatewayv1.SubscribeResponse
	tokens []string
	// End of each call; nil: the call stays open.
	end error
}

func (s *script) Subscribe(
	request *gatewayv1.SubscribeRequest, stream grpc.ServerStreamingServer[gatewayv1.SubscribeResponse]) error {
	s.mutex.Lock()
	s.tokens = append(s.tokens, request.GetResumeToken())
	var messages []*gatewayv1.SubscribeResponse
	if len(s.calls) > 0 {
		messages, s.calls = s.calls[0], s.calls[1:]
	}
	s.mutex.Unlock()
	for _, message := range messages {
		if err := stream.Send(message); err != nil {
			return err
		}
	}
	if s.end == nil {
		<-stream.Context().Done()
	}
	return s.end
}

func (s *script) asked() []string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return slices.Clone(s.tokens)
}

func serve(t *testing.T, script *script, config Config) *Client {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	gatewayv1.RegisterStreamServiceServer(server, script)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	config.Address, config.Logger = "http://"+listener.Addr().String(), slog.New(slog.DiscardHandler)
	client, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func start(token string, gaps ...string) *gatewayv1.SubscribeResponse {
	start := &gatewayv1.SessionStart{}
	for _, id := range gaps {
		start.OpenGaps = append(start.OpenGaps, &gatewayv1.Gap{GapId: id})
	}
	return &gatewayv1.SubscribeResponse{ResumeToken: token, Frame: &gatewayv1.SubscribeResponse_SessionStart{SessionStart: start}}
}

func batch(token string, total uint64, sequences ...uint64) *gatewayv1.SubscribeResponse {
	batch := &gatewayv1.EventBatch{DeliveredTotal: total}
	for _, sequence := range sequences {
		batch.Events = append(batch.Events, &Event{Sequence: sequence, PostId: sequence})
	}
	return &gatewayv1.SubscribeResponse{ResumeToken: token, Frame: &gatewayv1.SubscribeResponse_EventBatch{EventBatch: batch}}
}

type messages = []*gatewayv1.SubscribeResponse

func TestSequenceResumesBehindLastFrame(t *testing.T) {
	lost := statusOf(codes.Unavailable, domain, "NOT_LEADER", time.Millisecond).Err()
	script := &script{calls: []messages{{start("t0"), batch("t1", 1, 1)}, {start("t1"), batch("t2", 1, 2)}}, end: lost}
	reconnects := 0
	client := serve(t, script, Config{Observer: Observer{Disconnected: func(Disconnect) { reconnects++ }}})
	var got []uint64
	for frame, err := range client.Frames(context.Background(), "stored") {
		if err != nil {
			t.Fatal(err)
		}
		if batch, isBatch := frame.(*Batch); isBatch {
			got = append(got, batch.Events[0].Sequence)
		}
		if len(got) == 2 {
			break
		}
	}
	if !slices.Equal(got, []uint64{1, 2}) || !slices.Equal(script.asked(), []string{"stored", "t1"}) || reconnects != 1 {
		t.Errorf("%v, %v, %d", got, script.asked(), reconnects)
	}
}

func TestTokenOfStartComesWithLastGap(t *testing.T) {
	client := serve(t, &script{calls: []messages{{start("t0", "g1", "g2")}}}, Config{})
	var tokens []string
	for frame, err := range client.Frames(context.Background(), "") {
		if err != nil {
			t.Fatal(err)
		}
		if tokens = append(tokens, frame.Token()); len(tokens) == 3 {
			break
		}
	}
	if !slices.Equal(tokens, []string{"", "", "t0"}) {
		t.Errorf("%v", tokens)
	}
}

func TestPermanentReasonEndsSequence(t *testing.T) {
	client := serve(t, &script{end: statusOf(codes.OutOfRange, domain, "POSITION_TOO_OLD", 0).Err()}, Config{})
	var last error
	for _, last = range client.Frames(context.Background(), "old") {
	}
	var stopped *StoppedError
	if !errors.Is(last, ErrPosition) || !errors.As(last, &stopped) || stopped.Reason != "POSITION_TOO_OLD" {
		t.Errorf("%v", last)
	}
}

func TestUnsoundFrameIsNotDelivered(t *testing.T) {
	lossy := messages{start("t0"), batch("t9", 2, 1)}
	script := &script{calls: []messages{lossy, lossy}}
	client := serve(t, script, Config{UnsoundMax: 2})
	var last error
	for frame, err := range client.Frames(context.Background(), "") {
		if _, isBatch := frame.(*Batch); isBatch {
			t.Error("an unsound batch was delivered")
		}
		last = err
	}
	if !errors.Is(last, ErrUnsound) || !slices.Equal(script.asked(), []string{"", "t0"}) {
		t.Errorf("%v, %v", last, script.asked())
	}
}

func TestFailedHandlerLoadsTokenAgain(t *testing.T) {
	again := messages{start("t0"), batch("t1", 1, 1)}
	script := &script{calls: []messages{again, again}}
	client := serve(t, script, Config{})
	ctx, cancel := context.WithCancel(context.Background())
	var failures []Failure
	err := client.Run(ctx, Handler{
		Load: func(context.Context) (string, error) { return "stored", nil },
		Batch: func(context.Context, *Batch) error {
			if len(failures) == 0 {
				return errors.New("the database is locked")
			}
			cancel()
			return nil
		},
		Failed: func(failure Failure) { failures = append(failures, failure) },
	})
	if err != nil || len(failures) != 1 || failures[0].RetryIn < backoffMin {
		t.Errorf("%v, %v", err, failures)
	}
	if !slices.Equal(script.asked(), []string{"stored", "stored"}) {
		t.Errorf("%v", script.asked())
	}
}

func TestHandlerFailuresAreBounded(t *testing.T) {
	client := serve(t, &script{}, Config{HandlerFailuresMax: 2})
	cause := errors.New("no database")
	err := client.Run(context.Background(), Handler{
		Load:   func(context.Context) (string, error) { return "", cause },
		Notice: func(context.Context, Frame) error { return nil },
	})
	if !errors.Is(err, cause) {
		t.Errorf("%v", err)
	}
}

func TestPoisonEventIsDeadLetter(t *testing.T) {
	client := serve(t, &script{calls: []messages{{start("t0"), batch("t1", 3, 1, 2, 3)}}}, Config{})
	ctx, cancel := context.WithCancel(context.Background())
	var dead, handled []uint64
	err := client.Run(ctx, Handler{
		Batch: func(_ context.Context, batch *Batch) error {
			for _, event := range batch.Events {
				if event.PostId != 2 {
					continue
				}
				return Poison(event, errors.New("no such language"))
			}
			for _, event := range batch.Events {
				handled = append(handled, event.PostId)
			}
			cancel()
			return nil
		},
		DeadLetter: func(_ context.Context, event *Event, _ error) error {
			dead = append(dead, event.PostId)
			return nil
		},
	})
	if err != nil || !slices.Equal(dead, []uint64{2}) || !slices.Equal(handled, []uint64{1, 3}) {
		t.Errorf("%v, %v, %v", err, dead, handled)
	}
}

func TestPermanentErrorOfHandlerEndsRun(t *testing.T) {
	cause := errors.New("no such table")
	for name, marked := range map[string]error{"permanent": Permanent(cause), "poison": Poison(&Event{}, cause)} {
		client := serve(t, &script{calls: []messages{{start("t0")}}}, Config{})
		err := client.Run(context.Background(), Handler{Notice: func(context.Context, Frame) error { return marked }})
		if !errors.Is(err, cause) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestStopReportsUnfinishedFrame(t *testing.T) {
	client := serve(t, &script{calls: []messages{{start("t0")}}}, Config{StopWaitMax: time.Millisecond})
	ctx, cancel := context.WithCancel(context.Background())
	forever := make(chan struct{})
	defer close(forever)
	err := client.Run(ctx, Handler{Notice: func(context.Context, Frame) error {
		cancel()
		<-forever
		return nil
	}})
	var unfinished *UnfinishedError
	if !errors.As(err, &unfinished) || unfinished.Frame == nil {
		t.Errorf("%v", err)
	}
}

func TestInvalidOptionsAreRejected(t *testing.T) {
	for _, config := range []Config{
		{Address: "127.0.0.1:50051"},
		{Address: "ftp://gateway:1"},
		{Address: "http://"},
		{Address: "http://gateway:1", BearerFile: "/nowhere"},
		{Address: "http://127.evil:1", BearerFile: "/nowhere"},
		{Address: "https://gateway:1", CertFile: "/nowhere"},
		{Address: "http://gateway:1", Heartbeat: time.Millisecond},
	} {
		if _, err := New(config); !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: %v", config, err)
		}
	}
	if _, err := New(Config{Address: "http://127.0.0.9:1", BearerFile: "/nowhere"}); err != nil {
		t.Error(err)
	}
}

func TestControlCharactersOfGatewayAreEscaped(t *testing.T) {
	lines := Describe(&Warning{Warning: &gatewayv1.Warning{Message: "\x1b]0;owned\x07\u202e\nerror: forged"}})
	if len(lines) != 1 || lines[0] != `warning (unspecified): \u{1b}]0;owned\u{7}\u{202e}\u{a}error: forged` {
		t.Errorf("%q", lines)
	}
}
