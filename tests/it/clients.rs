//! The examples of `client-examples/` against the gateway: the same scenarios for each language.
//!
//! `language` builds an example, `example` runs it as a process that can be killed, `printed` reads and judges what it
//! prints, `network` is the wire between it and the gateway, `security` the gateway's TLS and credentials, `env` puts these
//! together with a gateway that is a process too. `faults`, `credentials`, `expired_tokens` and `tls` are played with the real
//! gateway; `reasons` with a gateway that does what a script says (`scripted`), for what the real one does not do on demand.
//!
//! `CLIENTS=required` (`.ci/run`): a language without a toolchain fails instead of being skipped. `CLIENTS=skip`: all are
//! skipped.

mod credentials;
mod env;
mod example;
mod expired_tokens;
mod faults;
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
                faults::killed_20_times_it_misses_nothing_and_repeats_only_its_last_batch
                faults::restarts_of_the_gateway_are_survived
                faults::what_x_sent_while_the_upstream_was_cut_is_printed
                faults::what_the_gateway_compresses_is_printed_all_the_same
                faults::a_stalled_network_is_noticed_and_left
                faults::told_to_stop_it_stores_what_it_printed
                expired_tokens::a_token_that_is_too_old_is_met_as_the_policy_says
                credentials::rotated_token_resumes_exactly_once
                credentials::withdrawn_access_stops_with_reason
                credentials::expired_jwt_is_announced_and_replaced
                credentials::client_certificate_alone_is_rotated
                tls::unknown_authority_is_not_trusted
                reasons::it_comes_back_for_each_reason_to_come_back
                reasons::it_stops_for_each_reason_to_stop
                reasons::what_is_unsound_is_not_printed_and_asked_for_again
                reasons::its_waits_grow_and_begin_anew_and_silence_is_an_end
                reasons::killed_between_two_batches_it_repeats_at_most_one
                reasons::what_it_cannot_work_with_is_said_at_once
            );
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
