package io.powerstream.gateway.example;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class CursorFileTest {
    @TempDir
    private Path directory;

    @Test
    void aTokenIsReplacedAsAWholeAndFoundAgain() throws Exception {
        Path path = directory.resolve("cursor");
        CursorFile cursor = CursorFile.load(Optional.of(path));
        assertEquals(Optional.empty(), cursor.token());
        Files.writeString(directory.resolve("cursor.new"), "left over from a kill, and longer");
        for (String token : List.of("one", "two")) {
            cursor.store(token);
            assertEquals(token + "\n", Files.readString(path));
        }
        try (var files = Files.list(directory)) {
            assertEquals(List.of(path), files.toList());
        }
        assertEquals(Optional.of("two"), CursorFile.load(Optional.of(path)).token());
    }

    @Test
    void aFileWithoutATokenIsRefusedAndLeftAsItIs() throws IOException {
        Path path = directory.resolve("cursor");
        for (String text : List.of("", "\n", "two words", "x".repeat(1_025), "b\0nary", "one\ntwo\n")) {
            Files.writeString(path, text);
            Failure failure = assertThrows(Failure.class, () -> CursorFile.load(Optional.of(path)));
            assertEquals(Exit.POSITION, failure.exit);
            assertEquals(text, Files.readString(path));
        }
    }

    @Test
    void aDirectoryThatIsNotThereIsFoundOutAtOnce() {
        Path path = directory.resolve("nowhere").resolve("cursor");
        Failure failure = assertThrows(Failure.class, () -> CursorFile.load(Optional.of(path)));
        assertEquals(Exit.FAILED, failure.exit);
    }
}
