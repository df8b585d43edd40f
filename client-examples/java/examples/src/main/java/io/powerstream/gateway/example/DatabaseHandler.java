package io.powerstream.gateway.example;

import com.google.protobuf.Timestamp;
import io.powerstream.gateway.consumer.DeadLetter;
import io.powerstream.gateway.consumer.Frame;
import io.powerstream.gateway.consumer.Handler;
import io.powerstream.gateway.consumer.PoisonException;
import io.powerstream.gateway.consumer.Runner;
import io.powerstream.gateway.v1.Event;
import io.powerstream.gateway.v1.Gap;
import io.powerstream.gateway.v1.TimeInterval;
import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Locale;
import java.util.Optional;

/**
 * Stores events, gaps, dead letters and the token: the effect of each frame and its token in one transaction. The events of a batch
 * go to the database together, because each statement of its own waits for an answer.
 */
abstract class DatabaseHandler implements Handler, AutoCloseable {
    private static final String STORE_POST = "INSERT INTO posts VALUES (?, ?)";
    private static final String STORE_GAP = "INSERT INTO gaps VALUES (?, ?, ?, ?) ON CONFLICT (gap_id) DO UPDATE SET "
            + "state = EXCLUDED.state, start_time = EXCLUDED.start_time, end_time = EXCLUDED.end_time";
    private static final String STORE_TOKEN =
            "INSERT INTO cursor VALUES (?, ?) ON CONFLICT (consumer) DO UPDATE SET token = EXCLUDED.token";

    private final String url;
    private final String consumer;
    /** Id of a post that is rejected; empty for none. */
    private final String failOn = Environment.variable("FAIL_ON", "");
    /** Null without one. */
    private Connection connection;

    DatabaseHandler(String url, String consumer) {
        this.url = url;
        this.consumer = consumer;
    }

    /** Statements that create the tables if they are absent. */
    abstract String[] setup();

    /** Returns true if no retry makes the event acceptable. Every other error is one of the database. */
    abstract boolean isOfEvent(SQLException error);

    /** Runs until the process is asked to end. */
    void run() throws InterruptedException, SQLException {
        Runner runner = Environment.client().runner(Environment.options(consumer), this);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> stop(runner)));
        try (this) {
            runner.run();
        }
    }

    private static void stop(Runner runner) {
        try {
            runner.stop(Duration.ofSeconds(5))
                    .ifPresent(frame -> System.err.println("unfinished, will be delivered again: " + frame.token()));
        } catch (InterruptedException error) {
            Thread.currentThread().interrupt();
        }
    }

    @Override
    public Optional<String> load() throws SQLException {
        // The connection may be what failed.
        close();
        connection = DriverManager.getConnection(url);
        try (Statement statement = connection.createStatement()) {
            for (String sql : setup()) {
                statement.execute(sql);
            }
        }
        connection.setAutoCommit(false);
        try (PreparedStatement select = connection.prepareStatement("SELECT token FROM cursor WHERE consumer = ?")) {
            select.setString(1, consumer);
            try (ResultSet row = select.executeQuery()) {
                return row.next()
                        ? Optional.of(new String(row.getBytes(1), StandardCharsets.US_ASCII))
                        : Optional.empty();
            }
        } finally {
            connection.rollback();
        }
    }

    @Override
    public void handle(Frame frame) throws SQLException {
        try {
            if (frame instanceof Frame.Batch batch) {
                insert(batch.events());
                for (DeadLetter letter : batch.deadLetters()) {
                    execute("INSERT INTO dead_letters VALUES (?, ?)", id(letter.event()), letter.reason());
                }
            } else if (frame instanceof Frame.Gap gap) {
                storeGap(gap.gap().getGapId(), state(gap.gap()), gap.gap().getInterval());
            } else if (frame instanceof Frame.Missing missing) {
                for (TimeInterval interval : missing.intervals()) {
                    storeGap("missing before " + end(interval), "missing", interval);
                }
            } else if (frame instanceof Frame.Skipped skipped) {
                String id = "skipped at " + Long.toUnsignedString(skipped.skipped().getSequence());
                storeGap(id, skipped.skipped().getCount() + " skipped", skipped.skipped().getInterval());
            }
            if (frame.token().isPresent()) {
                execute(STORE_TOKEN, consumer, frame.token().get().getBytes(StandardCharsets.US_ASCII));
            }
            connection.commit();
        } catch (SQLException | PoisonException error) {
            rollBack(error);
            throw error;
        }
    }

    @Override
    public void deadLetter(DeadLetter letter) {
        System.err.println("dead letter " + id(letter.event()) + ": " + letter.reason());
    }

    @Override
    public void close() throws SQLException {
        if (connection != null) {
            connection.close();
        }
    }

    private void insert(List<Event> events) throws SQLException {
        try (PreparedStatement insert = connection.prepareStatement(STORE_POST)) {
            for (Event event : events) {
                if (id(event).equals(failOn)) {
                    throw new PoisonException(event, new IllegalArgumentException("rejected by FAIL_ON"));
                }
                insert.setString(1, id(event));
                insert.setString(2, event.getJson());
                insert.addBatch();
            }
            insert.executeBatch();
        } catch (SQLException error) {
            if (!isOfEvent(error)) {
                throw error;
            }
            // A driver need not report which event it was.
            connection.rollback();
            insertOneByOne(events);
        }
    }

    private void insertOneByOne(List<Event> events) throws SQLException {
        for (Event event : events) {
            try {
                execute(STORE_POST, id(event), event.getJson());
            } catch (SQLException error) {
                if (isOfEvent(error)) {
                    throw new PoisonException(event, error);
                }
                throw error;
            }
        }
    }

    private void storeGap(String id, String state, TimeInterval interval) throws SQLException {
        String start = interval.hasStartTime() ? time(interval.getStartTime()) : null;
        execute(STORE_GAP, id, state, start, end(interval));
    }

    private void execute(String sql, Object... values) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            for (int i = 0; i < values.length; i++) {
                statement.setObject(i + 1, values[i]);
            }
            statement.executeUpdate();
        }
    }

    private void rollBack(Exception error) {
        try {
            connection.rollback();
        } catch (SQLException second) {
            // The database has rolled back if the connection is broken.
            error.addSuppressed(second);
        }
    }

    private static String id(Event event) {
        return Long.toUnsignedString(event.getPostId());
    }

    /** A newer gateway may have further states: UNRECOGNIZED. */
    private static String state(Gap gap) {
        return gap.getState().name().replace("GAP_STATE_", "").toLowerCase(Locale.ROOT).replace('_', ' ');
    }

    private static String end(TimeInterval interval) {
        return interval.hasEndTime() ? time(interval.getEndTime()) : null;
    }

    private static String time(Timestamp time) {
        return Instant.ofEpochSecond(time.getSeconds(), time.getNanos()).toString();
    }
}
