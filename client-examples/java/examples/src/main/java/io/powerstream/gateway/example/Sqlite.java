package io.powerstream.gateway.example;

import java.sql.SQLException;

/** Stores events in SQLite. */
public final class Sqlite extends DatabaseHandler {
    /** SQLITE_CONSTRAINT. */
    private static final int CONSTRAINT = 19;

    Sqlite(String path, String consumer) {
        super("jdbc:sqlite:" + path, consumer);
    }

    /**
     * Runs the example.
     *
     * @param args none
     * @throws Exception if it cannot continue
     */
    public static void main(String[] args) throws Exception {
        new Sqlite(Environment.variable("DATABASE", "posts.db"), Environment.variable("CONSUMER", "sqlite")).run();
    }

    @Override
    String[] setup() {
        return new String[] {
            "PRAGMA journal_mode = WAL",
            "PRAGMA synchronous = FULL",
            "CREATE TABLE IF NOT EXISTS posts (post_id text, event text)",
            "CREATE TABLE IF NOT EXISTS gaps (gap_id text PRIMARY KEY, state text, start_time text, end_time text)",
            "CREATE TABLE IF NOT EXISTS dead_letters (post_id text, reason text)",
            "CREATE TABLE IF NOT EXISTS cursor (consumer text PRIMARY KEY, token blob)",
        };
    }

    @Override
    boolean isOfEvent(SQLException error) {
        return error.getErrorCode() % 256 == CONSTRAINT;
    }
}
