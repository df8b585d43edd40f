package io.powerstream.gateway.example;

/** Why the process ends. */
final class Failure extends Exception {
    private static final long serialVersionUID = 1L;

    final Exit exit;

    Failure(Exit exit, String words) {
        super(words);
        this.exit = exit;
    }

    static Failure usage(String words) {
        return new Failure(Exit.USAGE, words);
    }
}
