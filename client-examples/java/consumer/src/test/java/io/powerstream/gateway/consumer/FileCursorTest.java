package io.powerstream.gateway.consumer;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class FileCursorTest {
    @TempDir
    private Path directory;

    @Test
    void aTokenIsReplacedAsAWholeAndFoundAgain() throws Exception {
        Path path = directory.resolve("cursor");
        FileCursor cursor = FileCursor.open(path);
        assertEquals(Optional.empty(), cursor.token());
        Files.writeString(directory.resolve("cursor.new"), "left over from a kill, and longer");
        for (String token : List.of("one", "two")) {
            cursor.store(Optional.of(token));
            assertEquals(token + "\n", Files.readString(path));
        }
        try (var files = Files.list(directory)) {
            assertEquals(List.of(path), files.toList());
        }
        assertEquals(Optional.of("two"), FileCursor.open(path).token());
    }

    @Test
    void aFileWithoutATokenIsRefusedAndLeftAsItIs() throws IOException {
        Path path = directory.resolve("cursor");
        for (String text : List.of("", "\n", "two words", "x".repeat(1_025), "b\0nary", "one\ntwo\n")) {
            Files.writeString(path, text);
            assertThrows(PositionException.class, () -> FileCursor.open(path));
            assertEquals(text, Files.readString(path));
        }
    }

    @Test
    void missingDirectoryIsReportedAtOnce() {
        Path path = directory.resolve("nowhere").resolve("cursor");
        assertThrows(IOException.class, () -> FileCursor.open(path));
    }
}
