package main

import (
	"bufio"
	"encoding/json"
	"io"
	"strings"

	powerstream "github.com/powerstream-gateway/powerstream-gateway/client-examples/go"
)

// printer prints a line of JSON for each event.
type printer struct {
	out  *bufio.Writer
	json *json.Encoder
}

type line struct {
	Sequence          uint64   `json:"sequence,string"`
	PostID            uint64   `json:"post_id,string"`
	Tags              []string `json:"tags"`
	EventTimeMs       int64    `json:"event_time_ms,string"`
	Origin            string   `json:"origin"`
	GapID             string   `json:"gap_id"`
	Delta             bool     `json:"delta"`
	PossibleDuplicate bool     `json:"possible_duplicate"`
	JSON              string   `json:"json"`
}

func newPrinter(to io.Writer) *printer {
	out := bufio.NewWriterSize(to, 1<<16)
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	return &printer{out, encoder}
}

// handle prints all of the batch, perhaps into a buffer.
func (p *printer) handle(batch *powerstream.Batch) error {
	for _, event := range batch.Events {
		tags := event.Tags
		if tags == nil {
			// A list in JSON, and not null.
			tags = []string{}
		}
		err := p.json.Encode(line{
			Sequence:          event.Sequence,
			PostID:            event.PostId,
			Tags:              tags,
			EventTimeMs:       event.EventTimeMs,
			Origin:            strings.TrimPrefix(event.Origin.String(), "ORIGIN_"),
			GapID:             event.GapId,
			Delta:             event.Delta,
			PossibleDuplicate: batch.PossibleDuplicate,
			JSON:              event.Json,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// flush writes the buffer: what was printed must be out before its token is stored.
func (p *printer) flush() error {
	return p.out.Flush()
}
