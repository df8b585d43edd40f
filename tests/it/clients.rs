//! The examples of `client-examples/` against the gateway: the same scenarios for each language.
//!
//! `language` builds an example, `example` runs it as a process that can be killed, `printed` reads and checks what it
//! prints, `network` is the wire between it and the gateway, `security` the gateway's TLS and credentials, `env` puts these
//! together with a gateway that is a process too. `faults`, `credentials`, `expired_tokens` and `tls` are played with the real
//! gateway; `reasons` with a gateway that follows a script (`scripted`), for what the real one does not do on demand. `effects` runs
//! the examples with a database (`database`), `installed` a program in an empty project that depends on the package of the library, and `defaults` the examples without their variables.
//!
//! `CLIENTS=required` (`.ci/run`): a language without a toolchain fails instead of being skipped. `CLIENTS=skip`: all are
//! skipped.

mod credentials;
mod database;
mod defaults;
mod effects;
mod env;
mod example;
mod expired_tokens;
mod faults;
mod installed;
mod language;
mod network;
mod printed;
mod reasons;
mod scripted;
mod security;
mod tls;

/// The scenarios of one language. They are named once, so that none can be left out for one of them.
macro_rules! conforms {
    ($($module:ident: $language:ident;)*) => {$(
        mod $module {
            use super::language::Language::$language;

            conforms!(@scenarios $language
                installed::installed_package_prints_posts
                defaults::unset_variables_have_defaults
                faults::kills_miss_nothing_and_repeat_one_batch
                faults::gateway_restarts_lose_nothing
                faults::posts_of_upstream_outage_are_printed
                faults::compressed_batches_are_printed
                faults::stalled_network_is_detected
                faults::stop_stores_token_of_last_output
                expired_tokens::too_old_token_follows_resume_policy
                credentials::rotated_token_resumes_exactly_once
                credentials::withdrawn_access_stops_with_reason
                credentials::expired_jwt_is_announced_and_replaced
                credentials::client_certificate_alone_is_rotated
                tls::unknown_authority_is_not_trusted
                reasons::transient_reasons_lead_to_reconnect
                reasons::permanent_reasons_end_consumer
                reasons::unsound_frame_is_not_printed_and_redelivered
                reasons::delays_grow_until_reset_and_silence_disconnects
                reasons::kill_between_batches_repeats_at_most_one
                reasons::unusable_setup_is_reported_at_once
            );
            conforms!(@effects $language
                sqlite_effects_are_exactly_once: Sqlite effects_over_kills_are_exactly_once
                sqlite_lock_is_waited_for: Sqlite failing_database_is_waited_for
                poison_post_becomes_dead_letter: Sqlite poison_post_becomes_dead_letter
                unrecoverable_gap_is_stored: Sqlite unrecoverable_gap_is_stored
                postgresql_effects_are_exactly_once: PostgreSql effects_over_kills_are_exactly_once
                postgresql_outage_is_waited_for: PostgreSql failing_database_is_waited_for
            );
        }
    )*};
    (@effects $language:ident $($name:ident: $kind:ident $scenario:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            let Some(example) = $language.built().await else { return };
            super::effects::$scenario(example, super::database::Kind::$kind).await;
        }
    )*};
    (@scenarios $language:ident $($room:ident::$scenario:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $scenario() {
            let Some(example) = $language.built().await else { return };
            super::$room::$scenario(example).await;
        }
    )*};
}

conforms! {
    go: Go;
    java: Java;
    node: Node;
    python: Python;
    rust: Rust;
}
