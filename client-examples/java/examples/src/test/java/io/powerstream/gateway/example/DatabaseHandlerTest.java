package io.powerstream.gateway.example;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.powerstream.gateway.consumer.DeadLetter;
import io.powerstream.gateway.consumer.Frame;
import io.powerstream.gateway.consumer.PoisonException;
import io.powerstream.gateway.v1.Event;
import io.powerstream.gateway.v1.Phase;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class DatabaseHandlerTest {
    private static final Event FIRST = event(1);
    private static final Event REJECTED = event(2);
    private static final Event LAST = event(3);

    @TempDir
    private Path directory;

    @Test
    void eventThatDatabaseRejectsIsFoundInBatch() throws SQLException {
        String path = directory.resolve("posts.db").toString();
        try (Connection database = DriverManager.getConnection("jdbc:sqlite:" + path);
                Sqlite handler = new Sqlite(path, "test")) {
            try (Statement statement = database.createStatement()) {
                statement.execute("CREATE TABLE posts (post_id text CHECK (post_id <> '2'), event text)");
            }
            assertEquals(Optional.empty(), handler.load());

            Frame whole = batch(List.of(FIRST, REJECTED, LAST), List.of());
            PoisonException error = assertThrows(PoisonException.class, () -> handler.handle(whole));
            assertSame(REJECTED, error.event());
            assertEquals(List.of(), column(database, "SELECT post_id FROM posts"));

            handler.handle(batch(List.of(FIRST, LAST), List.of(new DeadLetter(REJECTED, error))));
            assertEquals(List.of("1", "3"), column(database, "SELECT post_id FROM posts"));
            assertEquals(List.of("2"), column(database, "SELECT post_id FROM dead_letters"));
            assertEquals(Optional.of("token"), handler.load());
        }
    }

    private static Event event(long id) {
        return Event.newBuilder().setPostId(id).setJson("{}").build();
    }

    private static Frame batch(List<Event> events, List<DeadLetter> letters) {
        return new Frame.Batch(events, Phase.PHASE_LIVE, false, letters, Optional.of("token"));
    }

    private static List<String> column(Connection database, String query) throws SQLException {
        List<String> values = new ArrayList<>();
        try (Statement statement = database.createStatement();
                ResultSet rows = statement.executeQuery(query)) {
            while (rows.next()) {
                values.add(rows.getString(1));
            }
        }
        return values;
    }
}
