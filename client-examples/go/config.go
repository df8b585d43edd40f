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
)

// config holds the flags and the environment: the table "Flags" of PROTOCOL.md.
type config struct {
	addr         string
	tls          bool
	caFile       string
	certFile     string
	keyFile      string
	tokenFile    string
	account      string
	consumer     string
	anyOf        []string
	cursorFile   string
	start        string
	resumePolicy string
	heartbeat    time.Duration
	count        int64 // 0 = no end
}

var (
	address  = regexp.MustCompile(`^(?:\[[0-9a-fA-F:.]+\]|[^\s:/\[\]]+):(\d{1,5})$`)
	loopback = regexp.MustCompile(`^(?:localhost|\[::1\]|127(?:\.\d{1,3}){3}):`)
)

// load ends the process for --help, and gives a *stopped where the flags or the environment are wrong.
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
	start := text("start", "START", "latest", "`latest|earliest`: start position without a token")
	resumePolicy := text("resume-policy", "RESUME_POLICY", "fail", "`fail|earliest|latest`: behavior if the token is too old")
	heartbeat := text("heartbeat", "HEARTBEAT", "10", "interval of heartbeats of the gateway, 1 to 60 `SECONDS`")
	count := text("count", "COUNT", "", "end once `N` events or more were printed")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		os.Exit(exitDone)
	} else if err != nil {
		return nil, &stopped{exitUsage, err}
	}

	var faults []error
	oneOf := func(name, given string, choices ...string) string {
		if !slices.Contains(choices, given) {
			faults = append(faults, fmt.Errorf("%s: %s expected, not %q", name, strings.Join(choices, " or "), given))
		}
		return given
	}
	number := func(name, given string, least, most int64) int64 {
		value, err := strconv.ParseUint(given, 10, 63)
		if err != nil || int64(value) < least || int64(value) > most {
			faults = append(faults, fmt.Errorf("%s: a whole number from %d to %d expected, not %q", name, least, most, given))
		}
		return int64(value)
	}

	config := &config{
		addr:         strings.TrimPrefix(*addr, "dns:///"),
		tls:          *tls || *caFile != "" || *certFile != "" || oneOf("GATEWAY_TLS", variable("GATEWAY_TLS", "0"), "0", "1") == "1",
		caFile:       *caFile,
		certFile:     *certFile,
		keyFile:      *keyFile,
		tokenFile:    *tokenFile,
		account:      *account,
		consumer:     *consumer,
		cursorFile:   *cursorFile,
		start:        oneOf("--start", *start, "latest", "earliest"),
		resumePolicy: oneOf("--resume-policy", *resumePolicy, "fail", "earliest", "latest"),
		heartbeat:    time.Duration(number("--heartbeat", *heartbeat, 1, 60)) * time.Second,
	}
	if *count != "" {
		config.count = number("--count", *count, 1, math.MaxInt64)
	}
	for tag := range strings.SplitSeq(*anyOf, ",") {
		if tag = strings.TrimSpace(tag); tag != "" {
			config.anyOf = append(config.anyOf, tag)
		}
	}
	if flags.NArg() > 0 {
		faults = append(faults, fmt.Errorf("%q is no flag", flags.Arg(0)))
	}
	if port := address.FindStringSubmatch(config.addr); port == nil || !isPort(port[1]) {
		faults = append(faults, fmt.Errorf("--addr: HOST:PORT expected, not %q", *addr))
	}
	if (config.certFile == "") != (config.keyFile == "") {
		faults = append(faults, errors.New("--cert-file and --key-file are given together"))
	}
	if config.tokenFile != "" && !config.tls && !loopback.MatchString(config.addr) {
		faults = append(faults, errors.New(
			"a credential is sent only over TLS or to a loopback host: add --tls, or leave --token-file out"))
	}
	if len(faults) > 0 {
		return nil, &stopped{exitUsage, faults[0]}
	}
	return config, nil
}

func isPort(text string) bool {
	port, err := strconv.ParseUint(text, 10, 16)
	return err == nil && port > 0
}
