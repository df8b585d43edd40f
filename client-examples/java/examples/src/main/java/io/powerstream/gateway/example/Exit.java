package io.powerstream.gateway.example;

/** Exit codes, as the gateway's own commands have them. */
enum Exit {
    DONE(0),
    FAILED(1),
    USAGE(2),
    UNSOUND(3),
    REFUSED(4),
    POSITION(5);

    final int code;

    Exit(int code) {
        this.code = code;
    }
}
