package powerstream

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Handler contains the functions of [Client.Run]. Batch or Notice is required.
type Handler struct {
	// Load returns the token that was stored last; "" starts by [Config.Start]. It is called at the start and after each failure.
	// Nil: "" at the start, and after a failure the token of the last frame that was handled.
	Load func(context.Context) (string, error)
	// Batch makes the effect of the events durable, together with the token. Nil: Notice receives batches too.
	Batch func(context.Context, *Batch) error
	// Notice receives all other frames, and stores their tokens too: otherwise a consumer of rare events has an old position.
	// Nil: they are ignored.
	Notice func(context.Context, Frame) error
	// Failed is called after each failure of Load, Batch or Notice that is repeated.
	Failed func(Failure)
	// DeadLetter makes an event durable that the handler has rejected with [Poison]. The batch is then delivered again without it.
	// A kill between the two repeats the call. Nil: such an event ends Run.
	DeadLetter func(ctx context.Context, event *Event, cause error) error
}

// Failure is an error of a handler after which the frame is delivered again.
type Failure struct {
	// Err is the error.
	Err error
	// Frame in hand; nil if Load failed.
	Frame Frame
	// Failures in succession, this one included.
	Failures int
	// RetryIn is the delay before Load is called and the client reconnects.
	RetryIn time.Duration
}

// runner is one call of Run.
type runner struct {
	client  *Client
	handler *Handler
	// Context of the handler: it outlives that of Run by StopWaitMax.
	handling context.Context
	failures int
	// Why the last frame was not handled.
	failed error
	frame  Frame
}

// Run delivers frames to the handler until ctx is done: then it returns nil, or an [*UnfinishedError] if the handler did not
// finish the frame in hand within [Config.StopWaitMax].
//
// An error of the handler ends the session. Run waits, with a delay that grows from 250 ms to 30 s with jitter, calls Load again,
// because a transaction may have been committed although it reported an error, and resumes with that token. It returns a
// [Permanent] error of the handler, the last error after [Config.HandlerFailuresMax] failures, or a [*StoppedError].
func (c *Client) Run(ctx context.Context, handler Handler) error {
	if handler.Batch == nil && handler.Notice == nil {
		return invalidOption("the handler has neither Batch nor Notice")
	}
	handling, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stopWatch := context.AfterFunc(ctx, func() { time.AfterFunc(c.config.StopWaitMax, cancel) })
	defer stopWatch()
	runner := &runner{client: c, handler: &handler, handling: handling}
	subscription := &subscription{client: c}
	for {
		err := runner.load(ctx, subscription)
		if err == nil {
			runner.frame, runner.failed = nil, nil
			end := subscription.run(ctx, func(frame Frame) bool { return runner.deliver(ctx, frame) })
			if err = runner.failed; err == nil && !errors.Is(end, errLeft) {
				return end
			}
		}
		if finished, result := runner.decide(ctx, err); finished {
			return result
		}
	}
}

// decide returns true and the result if Run ends; otherwise it has waited.
func (r *runner) decide(ctx context.Context, err error) (bool, error) {
	var permanent *permanentError
	var poison *poisonError
	switch {
	case err == nil:
		return true, nil
	case ctx.Err() != nil:
		var unfinished *UnfinishedError
		if r.frame == nil {
			return true, nil
		}
		if errors.As(err, &unfinished) {
			return true, unfinished
		}
		return true, &UnfinishedError{Frame: r.frame, Cause: err}
	case errors.As(err, &permanent), errors.As(err, &poison):
		return true, err
	}
	r.failures++
	if limit := r.client.config.HandlerFailuresMax; limit > 0 && r.failures >= limit {
		return true, fmt.Errorf("the handler failed %d times: %w", r.failures, err)
	}
	delay := backoff(r.failures, 0)
	r.client.config.Logger.Error("handler failed, will retry", "error", err, "failures", r.failures, "retry_in", delay)
	call(r.handler.Failed, Failure{Err: err, Frame: r.frame, Failures: r.failures, RetryIn: delay})
	return !pause(ctx, delay), nil
}

func (r *runner) load(ctx context.Context, subscription *subscription) error {
	r.frame = nil
	if r.handler.Load == nil {
		return nil
	}
	token, err := r.handler.Load(ctx)
	if err == nil {
		subscription.token = token
	}
	return err
}

// deliver returns false if the frame was not handled.
func (r *runner) deliver(ctx context.Context, frame Frame) bool {
	r.frame = frame
	err := r.handle(ctx, frame)
	var poison *poisonError
	for errors.As(err, &poison) {
		batch, isBatch := frame.(*Batch)
		if r.handler.DeadLetter == nil || !isBatch || !remove(batch, poison.event) {
			break
		}
		r.client.config.Logger.Warn("event is a dead letter", "post_id", poison.event.PostId, "error", poison.cause)
		if err = r.handler.DeadLetter(r.handling, poison.event, poison.cause); err == nil {
			err = r.handle(ctx, frame)
		}
	}
	if err != nil {
		r.failed = err
		return false
	}
	switch frame.(type) {
	// Others precede the batch that fails in each session.
	case *Batch, *Heartbeat:
		r.failures = 0
	}
	r.frame = nil
	return true
}

// handle calls the handler. Once ctx is done it waits no longer than StopWaitMax, whether the handler returns or not.
func (r *runner) handle(ctx context.Context, frame Frame) error {
	done := make(chan error, 1)
	go func() { done <- r.dispatch(frame) }()
	select {
	case err := <-done:
		return err
	case <-r.handling.Done():
		// The handler can react to its context first.
		select {
		case err := <-done:
			return err
		case <-time.After(handlerGrace):
			return &UnfinishedError{Frame: frame}
		}
	}
}

func (r *runner) dispatch(frame Frame) error {
	if batch, isBatch := frame.(*Batch); isBatch && r.handler.Batch != nil {
		return r.handler.Batch(r.handling, batch)
	}
	if r.handler.Notice != nil {
		return r.handler.Notice(r.handling, frame)
	}
	return nil
}

// remove takes an event out of a batch.
func remove(batch *Batch, event *Event) bool {
	for index, candidate := range batch.Events {
		if candidate == event {
			batch.Events = append(batch.Events[:index:index], batch.Events[index+1:]...)
			return true
		}
	}
	return false
}
