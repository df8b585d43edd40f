// Command sqlite stores each post in SQLite exactly once: effect, gaps and resume token in one transaction.
package main

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"

	powerstream "github.com/powerstream-gateway/powerstream-gateway/client-examples/go"
	"github.com/powerstream-gateway/powerstream-gateway/client-examples/go/examples/gaprow"
	_ "modernc.org/sqlite"
)

const tables = `
CREATE TABLE IF NOT EXISTS posts (post_id text, event text);
CREATE TABLE IF NOT EXISTS gaps (gap_id text PRIMARY KEY, state text, start_time text, end_time text);
CREATE TABLE IF NOT EXISTS dead_letters (post_id text, reason text);
CREATE TABLE IF NOT EXISTS cursor (consumer text PRIMARY KEY, token blob)`

type store struct {
	db       *sql.DB
	consumer string
	failOn   string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	db, err := sql.Open("sqlite", cmp.Or(os.Getenv("DATABASE"), "posts.db")+"?_pragma=busy_timeout(2000)&_pragma=journal_mode(WAL)&_txlock=immediate")
	if err != nil {
		log.Fatal(err)
	}
	store := &store{db, cmp.Or(os.Getenv("CONSUMER"), "sqlite"), os.Getenv("FAIL_ON")}
	client, err := powerstream.New(powerstream.Config{
		Address:    cmp.Or(os.Getenv("GATEWAY"), "http://127.0.0.1:50051"),
		BearerFile: os.Getenv("BEARER_FILE"),
		Account:    os.Getenv("ACCOUNT"),
		Consumer:   store.consumer,
		AnyOf:      strings.FieldsFunc(os.Getenv("FILTER_TAGS"), func(r rune) bool { return r == ',' }),
		Start:      powerstream.StartEarliest(),
	})
	if err != nil {
		log.Fatal(err)
	}
	// Load, apply and deadLetter may fail while the database does: Run repeats them.
	err = client.Run(ctx, powerstream.Handler{Load: store.load, Notice: store.apply, DeadLetter: store.deadLetter})
	if err != nil {
		log.Fatal(err)
	}
}

func (s *store) load(ctx context.Context) (token string, err error) {
	if _, err := s.db.ExecContext(ctx, tables); err != nil {
		return "", err
	}
	err = s.db.QueryRowContext(ctx, "SELECT token FROM cursor WHERE consumer = ?", s.consumer).Scan(&token)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return token, err
}

// apply makes the effect of a frame and its token durable in one transaction.
func (s *store) apply(ctx context.Context, frame powerstream.Frame) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	// Without effect after a commit.
	defer func() { _ = tx.Rollback() }()
	if batch, isBatch := frame.(*powerstream.Batch); isBatch {
		for _, event := range batch.Events {
			id := fmt.Sprint(event.PostId)
			if id == s.failOn {
				return powerstream.Poison(event, errors.New("rejected by FAIL_ON"))
			}
			if _, err := tx.ExecContext(ctx, "INSERT INTO posts VALUES (?, ?)", id, event.Json); err != nil {
				return err
			}
		}
	}
	if row := gaprow.Of(frame); row != nil {
		_, err := tx.ExecContext(ctx, `INSERT INTO gaps VALUES (?, ?, ?, ?)
			ON CONFLICT (gap_id) DO UPDATE SET state = excluded.state, start_time = excluded.start_time, end_time = excluded.end_time`, row...)
		if err != nil {
			return err
		}
	}
	if frame.Token() != "" {
		_, err := tx.ExecContext(ctx, `INSERT INTO cursor VALUES (?, ?)
			ON CONFLICT (consumer) DO UPDATE SET token = excluded.token`, s.consumer, []byte(frame.Token()))
		if err != nil {
			return err
		}
	}
	return tx.Commit()
}

func (s *store) deadLetter(ctx context.Context, event *powerstream.Event, cause error) error {
	_, err := s.db.ExecContext(ctx, "INSERT INTO dead_letters VALUES (?, ?)", fmt.Sprint(event.PostId), cause.Error())
	return err
}
