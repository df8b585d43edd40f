//! Requests that are well formed, with values that make no sense.

use powerstream_gateway::proto::subscribe_request::Start;
use powerstream_gateway::proto::{
    CancelRecoveryJobRequest, CreateRecoveryJobRequest, GetCoverageRequest, GetStreamRequest, ListGapsRequest,
    ListRecoveryJobsRequest, ListStreamsRequest, ListTagsRequest, ResolvePositionRequest, SubscribeRequest, TagFilter,
    TimeInterval, resolve_position_request,
};
use prost::Message;
use prost_types::{Duration, Timestamp};
use tonic_health::pb::HealthCheckRequest;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;

use super::super::frames::{
    CANCEL_JOB, CREATE_JOB, GET_COVERAGE, GET_STREAM, HEALTH_CHECK, HEALTH_WATCH, LIST_GAPS, LIST_JOBS, LIST_STREAMS,
    LIST_TAGS, REFLECTION, RESOLVE_POSITION, SUBSCRIBE, call, data, fields, frame, headers, message,
};
use super::super::wire::{Case, case};

const FILTER_INVALID: &str = "InvalidArgument FILTER_INVALID";
const ACCOUNT_REQUIRED: &str = "InvalidArgument ACCOUNT_REQUIRED";
const START_INVALID: &str = "InvalidArgument START_INVALID";
const IN_FUTURE: &str = "OutOfRange POSITION_IN_FUTURE";
const TOO_OLD: &str = "OutOfRange POSITION_TOO_OLD";
/// 2100-01-01, and the last second of the year 9999.
const FAR: i64 = 4_102_444_800;
const LAST: i64 = 253_402_300_799;

fn ask(path: &str, request: &impl Message) -> Vec<u8> {
    call(1, path, &request.encode_to_vec())
}

fn at(seconds: i64) -> Option<Timestamp> {
    Some(Timestamp { seconds, nanos: 0 })
}

fn between(start_time: Option<Timestamp>, end_time: Option<Timestamp>) -> Option<TimeInterval> {
    Some(TimeInterval { start_time, end_time })
}

/// A subscription to `main`.
fn subscribe(change: impl FnOnce(&mut SubscribeRequest)) -> Vec<u8> {
    let mut request = SubscribeRequest { account: "main".into(), ..SubscribeRequest::default() };
    change(&mut request);
    ask(SUBSCRIBE, &request)
}

fn filtered(filter: TagFilter) -> Vec<u8> {
    subscribe(|request| request.filter = Some(filter))
}

fn from(start: Start) -> Vec<u8> {
    subscribe(|request| request.start = Some(start))
}

fn terms(count: usize, bytes: usize) -> Vec<String> {
    (0..count).map(|n| format!("{n:0bytes$}")).collect()
}

/// Filters, accounts and other values of a subscription.
pub fn subscriptions() -> Vec<Case> {
    let any = |any_of: Vec<String>| filtered(TagFilter { any_of, ..TagFilter::default() });
    let excluded = TagFilter { any_of: terms(1, 3), none_of: terms(1, 3), ..TagFilter::default() };
    let denied = "PermissionDenied ACCESS_DENIED";
    let account = |name: &str| subscribe(|request| request.account = name.into());
    let heartbeat =
        |seconds, nanos| subscribe(|request| request.heartbeat_interval = Some(Duration { seconds, nanos }));
    let open_for_more = {
        let request = message(&SubscribeRequest { account: "main".into(), ..Default::default() }.encode_to_vec());
        let begun = [headers(1, 0, &fields(SUBSCRIBE, "application/grpc")), frame(0, 0, 1, &request)].concat();
        [begun, data(1, &[])].concat()
    };
    vec![
        case("1,001 terms", any(terms(1_001, 4)), FILTER_INVALID),
        case("1,000 terms", any(terms(1_000, 4)), "open"),
        case(
            "1,001 rule ids",
            filtered(TagFilter { rule_ids: vec![7; 1_001], ..TagFilter::default() }),
            FILTER_INVALID,
        ),
        case("100,000 terms", any(terms(100_000, 5)), FILTER_INVALID),
        case("a term of 1,021 bytes", any(terms(1, 1_021)), FILTER_INVALID),
        case("terms of 300 KB together", any(terms(600, 500)), FILTER_INVALID),
        case("an empty term", any(vec![String::new()]), FILTER_INVALID),
        case("a filter that excludes what it asks for", filtered(excluded), FILTER_INVALID),
        case("a term of backslashes and stars", any(vec![r"\*\*\\**".into(), "\u{202e}\0".into()]), "open"),
        case("no account where there are two", account(""), ACCOUNT_REQUIRED),
        case("an unknown account", account("unknown"), denied),
        case("an account that climbs", account("../main"), denied),
        case("an account of 500 KB", account(&"m".repeat(500_000)), denied),
        case("an account of control characters", account("ma\u{1b}[31min\r\n"), denied),
        case("a consumer of 500 KB", subscribe(|request| request.consumer = "猫".repeat(170_000)), "open"),
        case("heartbeats of 10^18 s", heartbeat(1_000_000_000_000_000_000, 0), "open"),
        case("heartbeats of -1 s", heartbeat(-1, 0), START_INVALID),
        case("heartbeats of 2^31 ns", heartbeat(1, i32::MAX), START_INVALID),
        case("batches of 2^32 events", subscribe(|request| request.max_batch_events = u32::MAX), "open"),
        case("batches of 1 byte", subscribe(|request| request.max_batch_bytes = 1), "open"),
        case("a policy that there is not", subscribe(|request| request.resume_policy = 99), START_INVALID),
        case("a session that is closed in halves", open_for_more, "open"),
    ]
}

/// Starts: times, and tokens of all kinds.
pub fn tokens(own: &str, foreign: &str) -> Vec<Case> {
    let malformed = "InvalidArgument TOKEN_INVALID";
    let token = |text: &str| from(Start::ResumeToken(text.into()));
    let time = |seconds, nanos| from(Start::StartTime(Timestamp { seconds, nanos }));
    let back = |seconds| from(Start::Lookback(Duration { seconds, nanos: 0 }));
    let flipped = |at: usize| {
        let mut bytes = own.as_bytes().to_vec();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        String::from_utf8(bytes).expect("ASCII")
    };
    let half = own.len() / 2;
    let mut cases = vec![
        case("a token of its own", token(own), "open"),
        case("a token of another account", token(foreign), "FailedPrecondition TOKEN_ACCOUNT_MISMATCH"),
        case("an empty token", token(""), START_INVALID),
        case("half a token", token(&own[..half]), malformed),
        case("a token twice", token(&own.repeat(2)), malformed),
        case("two halves of two tokens", token(&[&own[..half], &foreign[half..]].concat()), malformed),
        case("a token with a space", token(&format!("{own} ")), "open"),
        case("a token with padding", token(&format!("{own}==")), malformed),
        case("a token of 900 KB", token(&"A".repeat(900_000)), malformed),
        case("a token of NUL", token("\0"), malformed),
        case("a token of another tongue", token("令牌"), malformed),
        case("the year 2100", time(FAR, 0), IN_FUTURE),
        case("the year 9999", time(LAST, 999_999_999), IN_FUTURE),
        case("the year 10000", time(LAST + 1, 0), START_INVALID),
        case("1970", time(0, 0), TOO_OLD),
        case("before 1970", time(-1, 0), START_INVALID),
        case("2^63 seconds", time(i64::MAX, 0), START_INVALID),
        case("negative nanoseconds", time(1, -1), START_INVALID),
        case("10^9 nanoseconds", time(1, 1_000_000_000), START_INVALID),
        case("a lookback of 10,000 years", back(315_576_000_000), TOO_OLD),
        case("a lookback of 2^63 s", back(i64::MAX), TOO_OLD),
        case("a negative lookback", back(-60), START_INVALID),
    ];
    cases.extend(
        [0, half, own.len() - 1].map(|at| case(format!("character {at} of a token"), token(&flipped(at)), malformed)),
    );
    cases
}

/// Calls that look something up.
pub fn lookups() -> Vec<Case> {
    let streams = |page_size, page_token: &str| {
        ask(LIST_STREAMS, &ListStreamsRequest { page_size, page_token: page_token.into() })
    };
    let tags = |account: &str, page_size, page_token: &str| {
        ask(LIST_TAGS, &ListTagsRequest { account: account.into(), page_size, page_token: page_token.into() })
    };
    let stream = |account: &str| ask(GET_STREAM, &GetStreamRequest { account: account.into() });
    let position = |target| ask(RESOLVE_POSITION, &ResolvePositionRequest { account: "main".into(), target });
    let gaps = |from, to, states: &[i32], page_token: &str| {
        let (states, page_token) = (states.to_vec(), page_token.into());
        let interval = between(from, to);
        ask(LIST_GAPS, &ListGapsRequest { account: "main".into(), interval, states, page_size: 0, page_token })
    };
    let coverage =
        |from, to| ask(GET_COVERAGE, &GetCoverageRequest { account: "main".into(), interval: between(from, to) });
    use resolve_position_request::Target;
    vec![
        case("ListStreams: a page of 2^31", streams(i32::MAX, ""), "OK"),
        case("ListStreams: a page of -1", streams(-1, ""), START_INVALID),
        case("ListStreams: a malformed page token", streams(0, "no/token="), START_INVALID),
        case("ListTags: a page of 2^31", tags("main", i32::MAX, ""), "OK"),
        case("ListTags: a page of -2^31", tags("main", i32::MIN, ""), START_INVALID),
        case("ListTags: a page token of 900 KB", tags("main", 0, &"A".repeat(900_000)), START_INVALID),
        case("ListTags: another list's token", tags("main", 0, "am9iczo3"), START_INVALID),
        case("ListTags: no account", tags("", 0, ""), ACCOUNT_REQUIRED),
        case("GetStream: no account", stream(""), ACCOUNT_REQUIRED),
        case("GetStream: an unknown account", stream("unknown"), "PermissionDenied ACCESS_DENIED"),
        case("ResolvePosition: nothing", position(None), START_INVALID),
        case("ResolvePosition: post 0", position(Some(Target::PostId(0))), "NotFound POST_NOT_FOUND"),
        case("ResolvePosition: post 2^64-1", position(Some(Target::PostId(u64::MAX))), "NotFound POST_NOT_FOUND"),
        case("ResolvePosition: 2100", position(Some(Target::Time(Timestamp { seconds: FAR, nanos: 0 }))), IN_FUTURE),
        case(
            "ResolvePosition: before 1970",
            position(Some(Target::Time(Timestamp { seconds: -9, nanos: 0 }))),
            START_INVALID,
        ),
        case("ListGaps: an interval that is inverted", gaps(at(FAR), at(5), &[], ""), START_INVALID),
        case("ListGaps: all times", gaps(at(0), at(LAST), &[], ""), "OK"),
        case("ListGaps: a state that there is not", gaps(None, None, &[99], ""), START_INVALID),
        case("ListGaps: 100,000 states", gaps(None, None, &[1; 100_000], ""), "OK"),
        case("ListGaps: a token of jobs", gaps(None, None, &[], "am9iczo3"), START_INVALID),
        case("GetCoverage: nothing", coverage(None, None), START_INVALID),
        case("GetCoverage: an interval that is inverted", coverage(at(9), at(5)), START_INVALID),
        case("GetCoverage: an interval of nothing", coverage(at(9), at(9)), START_INVALID),
        case("GetCoverage: until 9999", coverage(at(0), at(LAST)), IN_FUTURE),
        case("GetCoverage: since 1970", coverage(at(0), at(1_000_000_000)), "OK"),
    ]
}

/// Calls that cost money.
pub fn jobs() -> Vec<Case> {
    let create =
        |from, to| ask(CREATE_JOB, &CreateRecoveryJobRequest { account: "main".into(), interval: between(from, to) });
    let cancel =
        |job_id: &str| ask(CANCEL_JOB, &CancelRecoveryJobRequest { account: "main".into(), job_id: job_id.into() });
    let list = |states: &[i32], page_size| {
        let states = states.to_vec();
        ask(LIST_JOBS, &ListRecoveryJobsRequest { account: "main".into(), states, page_size, ..Default::default() })
    };
    let unknown = "NotFound JOB_NOT_FOUND";
    vec![
        case("CreateRecoveryJob: nothing", create(None, None), START_INVALID),
        case("CreateRecoveryJob: an interval that is inverted", create(at(9), at(5)), START_INVALID),
        case("CreateRecoveryJob: 2100", create(at(FAR), at(FAR + 60)), IN_FUTURE),
        case("CreateRecoveryJob: 1970", create(at(0), at(60)), TOO_OLD),
        case("CreateRecoveryJob: 2^63 seconds", create(at(i64::MIN), at(i64::MAX)), START_INVALID),
        case("CancelRecoveryJob: nothing", cancel(""), unknown),
        case("CancelRecoveryJob: no number", cancel("../1"), unknown),
        case("CancelRecoveryJob: 900 KB", cancel(&"9".repeat(900_000)), unknown),
        case("ListRecoveryJobs: a state that there is not", list(&[-1], 0), START_INVALID),
        case("ListRecoveryJobs: a page of 2^31", list(&[], i32::MAX), "OK"),
        case("ListRecoveryJobs: a page of -1", list(&[], -1), START_INVALID),
    ]
}

/// The request for a recovery of a minute some hours ago: at a distance from each other, so that none covers another.
pub fn recovery(hours: i64) -> CreateRecoveryJobRequest {
    let from = powerstream_gateway::clock::Clock::system().now().0 / 1_000 - 3_600 * hours;
    CreateRecoveryJobRequest { account: "main".into(), interval: between(at(from), at(from + 60)) }
}

/// Health and reflection; the latter is a service of the library, whose ends have no reason.
pub fn probes() -> Vec<Case> {
    let health = |path, service: &str| ask(path, &HealthCheckRequest { service: service.into() });
    let reflect = |asked: Option<MessageRequest>| {
        ask(REFLECTION, &ServerReflectionRequest { host: String::new(), message_request: asked })
    };
    let symbol = |symbol: &str| reflect(Some(MessageRequest::FileContainingSymbol(symbol.into())));
    let malformed = "InvalidArgument REQUEST_MALFORMED";
    vec![
        case("health: an unknown name", health(HEALTH_CHECK, "unknown"), "NotFound SERVICE_UNKNOWN"),
        case("health: a name of 900 KB", health(HEALTH_CHECK, &"n".repeat(900_000)), "NotFound SERVICE_UNKNOWN"),
        case("health: no protobuf", call(1, HEALTH_CHECK, b"\xff\xff\xff"), malformed),
        case("health: a watch of an unknown name", health(HEALTH_WATCH, "unknown"), "open"),
        case("reflection: nothing", reflect(None), "InvalidArgument"),
        case("reflection: an unknown symbol", symbol("no.such.Symbol"), "NotFound"),
        case("reflection: a symbol of 900 KB", symbol(&".".repeat(900_000)), "NotFound"),
        case("reflection: no protobuf", call(1, REFLECTION, b"\xff\xff\xff"), "OK"),
        case(
            "reflection: no message",
            [headers(1, 0, &fields(REFLECTION, "application/grpc")), data(1, &[])].concat(),
            "OK",
        ),
    ]
}
