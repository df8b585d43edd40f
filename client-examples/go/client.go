package powerstream

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net"
	"net/url"
	"time"

	gatewayv1 "github.com/powerstream-gateway/powerstream-gateway/client-examples/go/gen/powerstream/gateway/v1"
)

// Config contains the options of a [Client]. Only the address is required.
type Config struct {
	// Address of the gateway: http://host:port, or https://host:port for TLS.
	Address string
	// CAFile contains the authorities to trust, as PEM. Default: those of the system.
	CAFile string
	// CertFile and KeyFile contain a client certificate and its unencrypted key, as PEM. They are read again for each session.
	CertFile, KeyFile string
	// BearerFile contains a bearer token in its first line. It is read again for each session.
	BearerFile string
	// AllowPlaintextCredentials sends the bearer token without TLS to hosts that are not loopback, as where a service mesh
	// encrypts the connection.
	AllowPlaintextCredentials bool
	// Account to read. Default: the only account of the gateway, or its `default_account`.
	Account string
	// Consumer is the name in the logs and metrics of the gateway. Default: "consumer".
	Consumer string
	// AnyOf selects events with at least one of these tags; a trailing * makes a prefix. Default: all events.
	AnyOf []string
	// Filter replaces AnyOf where further conditions are needed.
	Filter *TagFilter
	// Start position without a token. Default: [StartLatest].
	Start Start
	// ResumePolicy if the token is too old. Default: the client ends with [ErrPosition].
	ResumePolicy ResumePolicy
	// Heartbeat interval, 1 to 60 s. A session that is silent for three of them is replaced. Default: 10 s.
	Heartbeat time.Duration
	// BatchEventsMax is the maximum number of events of a batch, at most 10,000, which is the default.
	BatchEventsMax uint32
	// UnsoundMax is the number of violations of the delivery contract after which the client ends; before, it reconnects, and
	// receives the missing events. Default: 3.
	UnsoundMax int
	// HandlerFailuresMax is the number of successive failures of a handler after which [Client.Run] ends. Default: no limit;
	// the delay between them is at most 45 s.
	HandlerFailuresMax int
	// StopWaitMax is how long [Client.Run] waits for the frame in hand once its context is done. Default: 5 s.
	StopWaitMax time.Duration
	// Logger of sessions, disconnects, gaps and losses. Default: slog.Default().
	Logger *slog.Logger
	// Observer receives what an operator measures.
	Observer Observer
}

// Start is a start position.
type Start struct {
	earliest bool
	time     time.Time
	lookback time.Duration
}

// StartLatest delivers only new records.
func StartLatest() Start { return Start{} }

// StartEarliest delivers from the oldest record of the log.
func StartEarliest() Start { return Start{earliest: true} }

// StartTime delivers from the first record received at or after this time.
func StartTime(at time.Time) Start { return Start{time: at} }

// StartLookback delivers from the first record received at or after now minus this duration.
func StartLookback(lookback time.Duration) Start { return Start{lookback: lookback} }

// ResumePolicy is the behavior if the token is older than the log and the recovery window.
type ResumePolicy = gatewayv1.ResumePolicy

const (
	// ResumeFail ends with [ErrPosition].
	ResumeFail = gatewayv1.ResumePolicy_RESUME_POLICY_FAIL
	// ResumeEarliest continues at the oldest record; a [Missing] frame reports the omitted interval.
	ResumeEarliest = gatewayv1.ResumePolicy_RESUME_POLICY_EARLIEST
	// ResumeLatest continues at the tip; a [Missing] frame reports the omitted interval.
	ResumeLatest = gatewayv1.ResumePolicy_RESUME_POLICY_LATEST
)

// TagFilter selects events by their tags and rules.
type TagFilter = gatewayv1.TagFilter

// Client subscribes to a gateway. It has no state of a subscription: several can run at the same time.
type Client struct {
	config Config
	target string
	isTLS  bool
}

// New checks the options; the client connects when it is used. The error is an [ErrInvalid].
func New(config Config) (*Client, error) {
	address, err := url.Parse(config.Address)
	invalid := err != nil || (address.Scheme != "http" && address.Scheme != "https") || address.Hostname() == "" ||
		address.Path != "" || address.User != nil || address.RawQuery != ""
	if invalid {
		return nil, invalidOption("invalid address %q: expected http://host:port or https://host:port", config.Address)
	}
	isTLS := address.Scheme == "https"
	port := address.Port()
	if port == "" {
		port = map[bool]string{false: "80", true: "443"}[isTLS]
	}
	if (config.CertFile == "") != (config.KeyFile == "") {
		return nil, invalidOption("CertFile and KeyFile are given together")
	}
	if config.BearerFile != "" && !isTLS && !isLoopback(address.Hostname()) && !config.AllowPlaintextCredentials {
		return nil, invalidOption(
			"a credential is sent only over TLS or to a loopback host: use https://, or send no bearer token to %s", config.Address)
	}
	if config.Heartbeat != 0 && (config.Heartbeat < time.Second || config.Heartbeat > time.Minute) {
		return nil, invalidOption("invalid heartbeat interval %s: expected 1 to 60 s", config.Heartbeat)
	}
	client := &Client{config: config.withDefaults(), target: net.JoinHostPort(address.Hostname(), port), isTLS: isTLS}
	return client, nil
}

func (c Config) withDefaults() Config {
	if c.Consumer == "" {
		c.Consumer = "consumer"
	}
	if c.Filter == nil {
		c.Filter = &TagFilter{AnyOf: c.AnyOf}
	}
	if c.Heartbeat == 0 {
		c.Heartbeat = heartbeatDefault
	}
	if c.BatchEventsMax == 0 {
		c.BatchEventsMax = batchEventsMax
	}
	if c.UnsoundMax == 0 {
		c.UnsoundMax = unsoundMax
	}
	if c.StopWaitMax == 0 {
		c.StopWaitMax = stopWaitMax
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

func isLoopback(host string) bool {
	address := net.ParseIP(host)
	return host == "localhost" || (address != nil && address.IsLoopback())
}

func invalidOption(format string, args ...any) error {
	return &StoppedError{Kind: ErrInvalid, Message: fmt.Sprintf(format, args...)}
}

// CheckCredential reads all files of the credential. Sessions read them again.
func (c *Client) CheckCredential() error {
	_, err := readCredential(&c.config)
	return err
}

// Frames returns an endless sequence of frames, from behind the position of the token; "" starts by [Config.Start].
//
// It reconnects and resumes by itself, with the token of the last frame that the loop has finished. It ends without an error
// if ctx is done or the loop is left. An error is the last element: a [*StoppedError], after which the same request would fail
// again.
func (c *Client) Frames(ctx context.Context, token string) iter.Seq2[Frame, error] {
	return func(yield func(Frame, error) bool) {
		subscription := &subscription{client: c, token: token}
		err := subscription.run(ctx, func(frame Frame) bool { return yield(frame, nil) })
		var stopped *StoppedError
		if errors.As(err, &stopped) {
			yield(nil, stopped)
		}
	}
}
