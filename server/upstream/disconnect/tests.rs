use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::*;
use crate::xapi::{BodyErrorKind, Headers, RateLimit};

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
const HEALTHY: Option<Duration> = Some(Duration::from_secs(31));
const BRIEF: Option<Duration> = Some(Duration::from_secs(29));

fn exact() -> Config {
    Config { jitter_percent_max: 0, ..Config::default() }
}

fn network() -> DisconnectCause {
    DisconnectCause::ConnectFailed(TransportError { kind: ErrorKind::Connect, detail: String::new() })
}

fn cut() -> DisconnectCause {
    DisconnectCause::Cut(BodyError { kind: BodyErrorKind::Cut, detail: String::new() })
}

fn refused(kind: ProblemKind) -> DisconnectCause {
    refused_with(kind, Headers::default())
}

fn refused_with(kind: ProblemKind, headers: Headers) -> DisconnectCause {
    DisconnectCause::Refused(Box::new(Problem {
        status: 0,
        kind,
        title: String::new(),
        detail: String::new(),
        headers,
    }))
}

struct Table(ReconnectBackoff, SmallRng);

impl Table {
    fn new() -> Self {
        Self(ReconnectBackoff::new(&exact()), SmallRng::seed_from_u64(1))
    }

    fn next(&mut self, cause: &DisconnectCause, healthy_for: Option<Duration>) -> ReconnectDecision {
        self.0.next_step(cause, healthy_for, NOW, &mut self.1)
    }

    /// Checks the backoffs in milliseconds for repeated disconnects with the same cause.
    fn check(&mut self, cause: &DisconnectCause, healthy_for: Option<Duration>, expected_ms: &[u64]) {
        for (at, ms) in expected_ms.iter().enumerate() {
            let next = self.next(cause, healthy_for);
            assert_eq!(next, ReconnectDecision::After(Duration::from_millis(*ms)), "{cause:?} {at}");
        }
    }
}

#[test]
fn dropped_connection_reconnects_immediately() {
    for cause in [
        DisconnectCause::CleanEof,
        cut(),
        DisconnectCause::Stale,
        DisconnectCause::SlowReader,
        DisconnectCause::Operational,
        DisconnectCause::InvalidRules,
        DisconnectCause::ForcedDisconnect,
    ] {
        assert_eq!(Table::new().next(&cause, HEALTHY), ReconnectDecision::Now, "{cause:?}");
    }
}

#[test]
fn waits_grow_by_class_of_failure() {
    Table::new().check(&network(), None, &[250, 500, 750, 1_000]);
    let mut table = Table::new();
    table.check(&network(), None, &(1..=64).map(|n| n * 250).collect::<Vec<_>>());
    table.check(&network(), None, &[16_000, 16_000]);
    assert!(table.0.is_at_cap());
    let http = [5_000, 10_000, 20_000, 40_000, 80_000, 160_000, 320_000, 320_000];
    for kind in [
        ProblemKind::Server,
        ProblemKind::Unauthorized,
        ProblemKind::Forbidden,
        ProblemKind::NoRules,
        ProblemKind::Other,
    ] {
        Table::new().check(&refused(kind), None, &http);
    }
    Table::new().check(&DisconnectCause::NoCredentials("unreadable".to_owned()), None, &http);
    let limited = [60_000, 120_000, 240_000, 480_000, 900_000, 900_000];
    for kind in [ProblemKind::RateLimited { reset: None }, ProblemKind::TooManyConnections, ProblemKind::Provisioning] {
        Table::new().check(&refused(kind), None, &limited);
    }
    Table::new().check(&DisconnectCause::TooManyConnections, BRIEF, &limited);
}

#[test]
fn permanent_errors_start_at_long_backoff() {
    for kind in [ProblemKind::InvalidRequest, ProblemKind::NotFound, ProblemKind::NotAcceptable, ProblemKind::Redirect]
    {
        Table::new().check(&refused(kind), None, &[320_000, 320_000]);
    }
    let period = Some("Monthly".to_owned());
    Table::new().check(&refused(ProblemKind::UsageCapped { period }), None, &[3_600_000, 3_600_000]);
    Table::new().check(&DisconnectCause::UsageCapped, HEALTHY, &[3_600_000]);
    let not_allowed =
        DisconnectCause::ConnectFailed(TransportError { kind: ErrorKind::NotAllowed, detail: String::new() });
    assert_eq!(Table::new().next(&not_allowed, None), ReconnectDecision::Stop);
}

#[test]
fn rate_limit_waits_by_upstream_clock() {
    let limited = |reset_s: i64, date: Option<UnixMillis>| {
        let reset = Some(NOW.plus(Duration::from_secs(reset_s as u64)));
        let rate_limit = RateLimit { reset, ..RateLimit::default() };
        refused_with(ProblemKind::RateLimited { reset }, Headers { date, rate_limit, ..Headers::default() })
    };
    Table::new().check(&limited(600, None), None, &[600_000, 600_000, 600_000, 600_000, 900_000]);
    Table::new().check(&limited(3, None), None, &[60_000]);
    Table::new().check(&limited(86_400, None), None, &[900_000]);
    let date = Some(NOW.plus(Duration::from_secs(500)));
    Table::new().check(&limited(600, date), None, &[100_000]);
}

#[test]
fn retry_after_extends_wait_within_bounds() {
    let asking = |seconds| {
        let retry_after = Some(Duration::from_secs(seconds));
        refused_with(ProblemKind::Server, Headers { retry_after, ..Headers::default() })
    };
    Table::new().check(&asking(30), None, &[30_000, 30_000, 30_000, 40_000]);
    Table::new().check(&asking(86_400), None, &[320_000]);
}

#[test]
fn only_healthy_connection_resets_backoff() {
    let mut table = Table::new();
    table.check(&refused(ProblemKind::Server), None, &[5_000, 10_000]);
    // 200 and then malformed input, repeatedly; two clients that disconnect each other.
    table.check(&DisconnectCause::CleanEof, BRIEF, &[20_000, 40_000]);
    table.check(&DisconnectCause::Stale, Some(Duration::ZERO), &[80_000]);
    assert_eq!(table.next(&DisconnectCause::CleanEof, HEALTHY), ReconnectDecision::Now);
    table.check(&refused(ProblemKind::Server), None, &[5_000]);
}

#[test]
fn rules_count_for_themselves() {
    let mut table = Table::new();
    table.check(&network(), None, &[250, 500]);
    table.check(&refused(ProblemKind::Server), None, &[5_000]);
    table.check(&network(), None, &[750]);
    table.check(&refused(ProblemKind::TooManyConnections), None, &[60_000]);
    table.check(&refused(ProblemKind::Server), None, &[10_000]);
}

#[test]
fn jitter_only_ever_adds() {
    let mut attempts = ReconnectBackoff::new(&Config::default());
    let mut rng = SmallRng::seed_from_u64(9);
    let ReconnectDecision::After(wait) = attempts.next_step(&refused(ProblemKind::Server), None, NOW, &mut rng) else {
        panic!("expected a delay")
    };
    assert!((Duration::from_millis(5_000)..=Duration::from_millis(5_500)).contains(&wait), "{wait:?}");
}
