package io.powerstream.gateway.example;

import java.net.URI;
import java.sql.SQLException;

/** Stores events in PostgreSQL. */
public final class Postgresql extends DatabaseHandler {
    private Postgresql() {
        super(
                jdbc(Environment.variable("DATABASE", "postgresql://postgres@127.0.0.1/postgres")),
                Environment.variable("CONSUMER", "postgresql"));
    }

    /**
     * Runs the example.
     *
     * @param args none
     * @throws Exception if it cannot continue
     */
    public static void main(String[] args) throws Exception {
        new Postgresql().run();
    }

    @Override
    String[] setup() {
        return new String[] {
            "CREATE TABLE IF NOT EXISTS posts (post_id text, event text)",
            "CREATE TABLE IF NOT EXISTS gaps (gap_id text PRIMARY KEY, state text, start_time text, end_time text)",
            "CREATE TABLE IF NOT EXISTS dead_letters (post_id text, reason text)",
            "CREATE TABLE IF NOT EXISTS cursor (consumer text PRIMARY KEY, token bytea)",
        };
    }

    /** Data exception, or violated constraint. */
    @Override
    boolean isOfEvent(SQLException error) {
        return error.getSQLState() != null && error.getSQLState().matches("2[23].*");
    }

    /**
     * Returns the JDBC form of a URL {@code postgresql://user:password@host:port/database?parameters}, with bounds for waits. The
     * driver sends the rows of a batch as one statement.
     */
    private static String jdbc(String url) {
        URI uri = URI.create(url);
        String[] user = uri.getRawUserInfo() == null ? new String[] {} : uri.getRawUserInfo().split(":", 2);
        StringBuilder jdbc = new StringBuilder("jdbc:postgresql://")
                .append(uri.getRawAuthority().replaceFirst("^.*@", ""))
                .append(uri.getRawPath())
                .append("?connectTimeout=5&socketTimeout=30&reWriteBatchedInserts=true");
        jdbc.append(user.length > 0 ? "&user=" + user[0] : "").append(user.length > 1 ? "&password=" + user[1] : "");
        return jdbc.append(uri.getRawQuery() == null ? "" : "&" + uri.getRawQuery()).toString();
    }
}
