package io.powerstream.gateway.example;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Optional;
import java.util.Set;

/** The one place of the resume token: a file, or memory if there is none. */
final class CursorFile {
    private final Optional<Path> path;
    private Optional<String> token;

    private CursorFile(Optional<Path> path, Optional<String> token) {
        this.path = path;
        this.token = token;
    }

    static CursorFile load(Optional<Path> path) throws Failure {
        if (path.isEmpty()) {
            return new CursorFile(path, Optional.empty());
        }
        // Found out now, and not when the first token is to be stored.
        if (!Files.isDirectory(directory(path.get()))) {
            throw new Failure(Exit.FAILED, "the directory of the cursor file " + path.get() + " does not exist");
        }
        return new CursorFile(path, read(path.get()));
    }

    Optional<String> token() {
        return token;
    }

    /** Whatever kills the process, the file holds a whole token, the old one or this one. */
    void store(String token) throws Failure {
        if (path.isPresent()) {
            try {
                replace(path.get(), token);
            } catch (IOException error) {
                throw new Failure(Exit.FAILED, "cannot write the cursor file " + path.get() + ": " + error);
            }
        }
        this.token = Optional.of(token);
    }

    private static Optional<String> read(Path path) throws Failure {
        byte[] bytes;
        try {
            bytes = Files.readAllBytes(path);
        } catch (NoSuchFileException error) {
            return Optional.empty();
        } catch (IOException error) {
            throw new Failure(Exit.FAILED, "cannot read the cursor file " + path + ": " + error);
        }
        String token = new String(bytes, StandardCharsets.ISO_8859_1).replaceAll("[ \\t\\r\\n]+$", "");
        if (token.length() > Limits.CURSOR_BYTES_MAX || !token.matches("[\\x21-\\x7e]+")) {
            String words = " does not hold a resume token: move it away to start by --start";
            throw new Failure(Exit.POSITION, "the cursor file " + path + words);
        }
        return Optional.of(token);
    }

    private static void replace(Path path, String token) throws IOException {
        Path fresh = path.resolveSibling(path.getFileName() + ".new");
        var options = Set.of(
                StandardOpenOption.WRITE, StandardOpenOption.CREATE, StandardOpenOption.TRUNCATE_EXISTING);
        var mode = PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------"));
        try (FileChannel file = FileChannel.open(fresh, options, mode)) {
            ByteBuffer bytes = ByteBuffer.wrap((token + "\n").getBytes(StandardCharsets.US_ASCII));
            while (bytes.hasRemaining()) {
                file.write(bytes);
            }
            file.force(true);
        }
        Files.move(fresh, path, StandardCopyOption.ATOMIC_MOVE);
        // A rename is on the disk when its directory is.
        try (FileChannel directory = FileChannel.open(directory(path), StandardOpenOption.READ)) {
            directory.force(true);
        }
    }

    private static Path directory(Path path) {
        return path.toAbsolutePath().getParent();
    }
}
