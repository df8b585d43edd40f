package io.powerstream.gateway.consumer;

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

/** A resume token in a file of its own, for consumers without a database. One process per file. */
public final class FileCursor {
    private final Path path;
    private Optional<String> token;

    private FileCursor(Path path, Optional<String> token) {
        this.path = path;
        this.token = token;
    }

    /**
     * Reads the file; a file that does not exist has no token. Throws {@link PositionException} if the file holds something else.
     *
     * @param path the file
     * @return the cursor
     * @throws IOException if the file cannot be read, or its directory does not exist
     */
    public static FileCursor open(Path path) throws IOException {
        // Reported now, and not when the first token is stored.
        if (!Files.isDirectory(directory(path))) {
            throw new IOException("the directory of the cursor file " + path + " does not exist");
        }
        return new FileCursor(path, read(path));
    }

    /**
     * Returns the stored token.
     *
     * @return the token; empty before the first one
     */
    public Optional<String> token() {
        return token;
    }

    /**
     * Stores the token of a frame, after its effect is durable; without one it does nothing. After a crash at any moment the file
     * holds a whole token, this one or that before.
     *
     * @param token the token of the frame
     * @throws IOException if the file cannot be written
     */
    public void store(Optional<String> token) throws IOException {
        if (token.isEmpty() || token.equals(this.token)) {
            return;
        }
        try {
            replace(path, token.get());
        } catch (IOException error) {
            throw new IOException("cannot write the cursor file " + path + ": " + error, error);
        }
        this.token = token;
    }

    private static Optional<String> read(Path path) throws IOException {
        byte[] bytes;
        try {
            bytes = Files.readAllBytes(path);
        } catch (NoSuchFileException error) {
            return Optional.empty();
        } catch (IOException error) {
            throw new IOException("cannot read the cursor file " + path + ": " + error, error);
        }
        String token = new String(bytes, StandardCharsets.ISO_8859_1).replaceAll("[ \\t\\r\\n]+$", "");
        if (token.length() > Limits.CURSOR_BYTES_MAX || !token.matches("[\\x21-\\x7e]+")) {
            String words = " does not hold a resume token: move it away to start by --start";
            throw new PositionException("", "the cursor file " + path + words);
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
