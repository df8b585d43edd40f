/** The table "Constants" of PROTOCOL.md. Times are in milliseconds. */
export const BACKOFF_MIN = 250;
export const BACKOFF_MAX = 30_000;
export const JITTER = 0.5;
export const RETRY_AFTER_MAX = 600_000;
export const HEARTBEATS_MISSED_MAX = 3;
export const CONNECT_WAIT_MAX = 10_000;
export const KEEPALIVE_INTERVAL = 20_000;
export const KEEPALIVE_TIMEOUT = 10_000;
export const FRAME_BYTES_MAX = 16 << 20;
export const BATCH_BYTES_MAX = 1 << 20;
export const BATCH_EVENTS_MAX = 10_000;
export const UNSOUND_MAX = 3;
export const STOP_WAIT_MAX = 5_000;
export const CURSOR_BYTES_MAX = 1_024;
