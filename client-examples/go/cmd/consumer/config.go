package main

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	powerstream "github.com/powerstream-gateway/powerstream-gateway/client-examples/go"
)

// config contains the flags and the environment: the table "Flags" of PROTOCOL.md.
type config struct {
	client     powerstream.Config
	cursorFile string
	count      int64 // 0 = no end
}

var address = regexp.MustCompile(`^(?:\[[0-9a-fA-F:.]+\]|[^\s:/\[\]]+):(\d{1,5})$`)

var policies = map[string]powerstream.ResumePolicy{
	"fail": powerstream.ResumeFail, "earliest": powerstream.ResumeEarliest, "latest": powerstream.ResumeLatest,
}

// load ends the process for --help. An error is one of the flags or the environment.
func load(args []string, getenv func(string) string) (*config, error) {
	flags := flag.NewFlagSet("consumer", flag.ContinueOnError)
	flags.SetOutput(os.Stderr)
	variable := func(name, value string) string {
		if given := getenv(name); given != "" {
			return given
		}
		return value
	}
	text := func(name, env, value, usage string) *string {
		return flags.String(name, variable(env, value), fmt.Sprintf("%s [%s]", usage, env))
	}

	addr := text("addr", "GATEWAY_ADDR", "127.0.0.1:50051", "the gateway, as `HOST:PORT`")
	tls := flags.Bool("tls", false, "TLS to the gateway [GATEWAY_TLS=1]")
	caFile := text("ca-file", "GATEWAY_CA_FILE", "", "`PATH` of the authorities to trust, as PEM; switches --tls on")
	certFile := text("cert-file", "GATEWAY_CERT_FILE", "", "`PATH` of the client certificate, as PEM; switches --tls on")
	keyFile := text("key-file", "GATEWAY_KEY_FILE", "", "`PATH` of the key of --cert-file, as unencrypted PEM")
	tokenFile := text("token-file", "GATEWAY_TOKEN_FILE", "", "`PATH` of the file with the credential in its first line")
	account := text("account", "GATEWAY_ACCOUNT", "", "`NAME` of the account to read")
	consumer := text("consumer", "GATEWAY_CONSUMER", "example-go", "`NAME` in the gateway's logs")
	anyOf := text("any-of", "ANY_OF", "", "only events with at least one tag of `A,B*`; a trailing * makes a prefix")
	cursorFile := text("cursor-file", "CURSOR_FILE", "", "`PATH` of the file that keeps the resume token")
	start := text("start", "START", "latest", "`latest|earliest|TIME`: start position without a token; TIME is RFC 3339")
	resumePolicy := text("resume-policy", "RESUME_POLICY", "fail", "`fail|earliest|latest`: behavior if the token is too old")
	heartbeat := text("heartbeat", "HEARTBEAT", "10", "interval of heartbeats of the gateway, 1 to 60 `SECONDS`")
	count := text("count", "COUNT", "", "end once `N` events or more were printed")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		os.Exit(0)
	} else if err != nil {
		return nil, err
	}

	var faults []error
	oneOf := func(name, given string, choices ...string) string {
		if !slices.Contains(choices, given) {
			faults = append(faults, fmt.Errorf("%s: %s expected, not %q", name, strings.Join(choices, " or "), given))
		}
		return given
	}
	startOf := func(given string) powerstream.Start {
		switch given {
		case "latest":
			return powerstream.StartLatest()
		case "earliest":
			return powerstream.StartEarliest()
		}
		at, err := time.Parse(time.RFC3339, given)
		if err != nil {
			faults = append(faults, fmt.Errorf("--start: latest, earliest or an RFC 3339 time expected, not %q", given))
		}
		return powerstream.StartTime(at)
	}
	number := func(name, given string, least, most int64) int64 {
		value, err := strconv.ParseUint(given, 10, 63)
		if err != nil || int64(value) < least || int64(value) > most {
			faults = append(faults, fmt.Errorf("%s: a whole number from %d to %d expected, not %q", name, least, most, given))
		}
		return int64(value)
	}

	gateway := strings.TrimPrefix(*addr, "dns:///")
	scheme := "http://"
	if *tls || *caFile != "" || *certFile != "" || oneOf("GATEWAY_TLS", variable("GATEWAY_TLS", "0"), "0", "1") == "1" {
		scheme = "https://"
	}
	config := &config{
		client: powerstream.Config{
			Address:      scheme + gateway,
			CAFile:       *caFile,
			CertFile:     *certFile,
			KeyFile:      *keyFile,
			BearerFile:   *tokenFile,
			Account:      *account,
			Consumer:     *consumer,
			AnyOf:        tags(*anyOf),
			Start:        startOf(*start),
			ResumePolicy: policies[oneOf("--resume-policy", *resumePolicy, "fail", "earliest", "latest")],
			Heartbeat:    time.Duration(number("--heartbeat", *heartbeat, 1, 60)) * time.Second,
		},
		cursorFile: *cursorFile,
	}
	if *count != "" {
		config.count = number("--count", *count, 1, math.MaxInt64)
	}
	if flags.NArg() > 0 {
		faults = append(faults, fmt.Errorf("%q is no flag", flags.Arg(0)))
	}
	if port := address.FindStringSubmatch(gateway); port == nil || !isPort(port[1]) {
		faults = append(faults, fmt.Errorf("--addr: HOST:PORT expected, not %q", *addr))
	}
	if len(faults) > 0 {
		return nil, faults[0]
	}
	return config, nil
}

func tags(list string) []string {
	var tags []string
	for tag := range strings.SplitSeq(list, ",") {
		if tag = strings.TrimSpace(tag); tag != "" {
			tags = append(tags, tag)
		}
	}
	return tags
}

func isPort(text string) bool {
	port, err := strconv.ParseUint(text, 10, 16)
	return err == nil && port > 0
}
