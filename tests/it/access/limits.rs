//! Limits of principals that are not about rates: connections, replays, recovery jobs; and peers whose credentials are
//! refused.

use std::time::Duration;

use powerstream_gateway::access::{LimitsMode, RoleLimits};
use powerstream_gateway::clock::Clock;
use powerstream_gateway::grpc::Reflection;
use powerstream_gateway::proto::recovery_service_client::RecoveryServiceClient;
use powerstream_gateway::proto::{CreateRecoveryJobRequest, ListStreamsRequest, RecoveryJob, TimeInterval};
use powerstream_gateway::simulator::ErrorResponse;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_types::StatusExt;

use super::{ALL, CATS, Secret, bearing, channel, configure, subscribe, tags_of, time, write_tokens};
use crate::harness::{TestEnv, earliest, end_of, eventually, filters, in_time, last_token, latest, posts, reason};

/// A gateway on which `cats` has these limits.
async fn limited(limits: RoleLimits, mode: LimitsMode, secrets: &[&Secret]) -> TestEnv {
    let mut env = TestEnv::without_gateway(Clock::system(), |_| (), configure);
    env.settings.roles[1].limits = limits;
    env.settings.limits.mode = mode;
    env.settings.hub.ring_bytes_max = 64 << 10;
    write_tokens(env.dir(), secrets);
    env.start_gateway().await;
    env.connected().await;
    env
}

/// A connection counts for a principal while it has a call of it open; other principals on it are not concerned.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connection_limit_binds_its_principal_only() {
    for mode in [LimitsMode::Enforce, LimitsMode::Observe] {
        let (all, cats) = (Secret::new(ALL, 1), Secret::new(CATS, 2));
        let limits = RoleLimits { connections: Some(2), ..RoleLimits::default() };
        let env = limited(limits, mode, &[&all, &cats]).await;
        let (mut clients, mut open) = (Vec::new(), Vec::new());
        for _ in 0..2 {
            let mut client = env.client().await;
            for _ in 0..3 {
                open.push(subscribe(&mut client, &cats, latest(&filters::all())).await.expect("two connections"));
            }
            clients.push(client);
        }
        let mut third = env.client().await;
        let refused = subscribe(&mut third, &cats, latest(&filters::all())).await;
        if mode == LimitsMode::Enforce {
            let refused = refused.expect_err("a third connection");
            assert_eq!((refused.code(), reason(&refused)), (Code::ResourceExhausted, "CONNECTION_LIMIT"));
            assert!(refused.get_details_retry_info().is_some(), "{refused:?}");
            let quota = refused.get_details_quota_failure().expect("it names the limit").violations;
            assert_eq!(quota[0].subject, "cats/connections");
        } else {
            open.push(refused.expect("observed only"));
        }
        assert_eq!(env.metric("limit_reached_total"), 1.0, "counted alike");
        subscribe(&mut third, &all, latest(&filters::all())).await.expect("another principal");
        // One more call on a connection that counts already.
        subscribe(&mut clients[1], &cats, latest(&filters::all())).await.expect("the same connection");
        // A connection without calls does not count any more.
        open.drain(..3);
        eventually("its place is free", async || {
            subscribe(&mut third.clone(), &cats, latest(&filters::all())).await.is_ok()
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replay_limit_ends_session_with_token() {
    for mode in [LimitsMode::Enforce, LimitsMode::Observe] {
        let (all, cats) = (Secret::new(ALL, 1), Secret::new(CATS, 2));
        let limits = RoleLimits { replays: Some(0), ..RoleLimits::default() };
        let mut env = limited(limits, mode, &[&all, &cats]).await;
        env.post(&[&["cats", "first"]]);
        for number in 0..40 {
            env.x.publish(&posts::large_post(number, 8 << 10)).expect("a post");
        }
        env.post(&[&["cats", "last"]]);
        env.all_logged().await;
        let mut client = env.client().await;
        let mut live = subscribe(&mut client, &cats, latest(&filters::all())).await.expect("the ring has its posts");
        let mut other = subscribe(&mut client, &all, earliest(&filters::all())).await.expect("no limit");
        assert_eq!(tags_of(&mut other, 1).await[0], "cats+first", "the first post is in the journal only");
        let mut replay = subscribe(&mut client, &cats, earliest(&filters::all())).await.expect("it begins");
        if mode == LimitsMode::Enforce {
            let (_, end) = end_of(&mut replay).await;
            assert_eq!((end.code(), reason(&end)), (Code::ResourceExhausted, "REPLAY_LIMIT"));
            assert!(end.message().contains("roles[].limits.replays"), "{end:?}");
            assert!(!last_token(&end).is_empty() && end.get_details_retry_info().is_some(), "{end:?}");
        } else {
            assert_eq!(tags_of(&mut replay, 2).await, ["cats+first", "cats+last"]);
        }
        assert!(env.metric("limit_reached_total") >= 1.0, "counted alike");
        env.post(&[&["cats", "new"]]);
        assert_eq!(tags_of(&mut live, 1).await, ["cats+new"], "live sessions need no replay");
    }
}

async fn create(
    client: &mut RecoveryServiceClient<Channel>,
    secret: &Secret,
    hours: i64,
) -> Result<RecoveryJob, Status> {
    let end = Clock::system().system_now().0 / 1_000 - hours * 3_600;
    let interval = Some(TimeInterval { start_time: Some(time(end - 600)), end_time: Some(time(end)) });
    let request = secret.on(CreateRecoveryJobRequest { account: String::new(), interval });
    in_time("an answer", client.create_recovery_job(request)).await.map(|made| made.into_inner().job.expect("a job"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recovery_limit_counts_active_jobs() {
    for mode in [LimitsMode::Enforce, LimitsMode::Observe] {
        let (all, cats) = (Secret::new(ALL, 1), Secret::new(CATS, 2));
        let mut env = TestEnv::without_gateway(Clock::system(), |_| (), configure);
        env.settings.roles[1].limits.recovery_jobs = Some(1);
        env.settings.roles[1].rights.push(powerstream_gateway::access::Right::Recover);
        env.settings.limits.mode = mode;
        write_tokens(env.dir(), &[&all, &cats]);
        env.start_gateway().await;
        env.connected().await;
        env.x.refuse_until_cleared(ErrorResponse::too_many_connections());
        let mut client = RecoveryServiceClient::new(channel(&env).await);
        let first = create(&mut client, &cats, 2).await.expect("one");
        let again = create(&mut client, &cats, 2).await.expect("the same interval needs no job");
        assert_eq!(first.job_id, again.job_id);
        let second = create(&mut client, &cats, 5).await;
        if mode == LimitsMode::Enforce {
            let refused = second.expect_err("two are too many");
            assert_eq!((refused.code(), reason(&refused)), (Code::ResourceExhausted, "RECOVERY_LIMIT"));
            let quota = refused.get_details_quota_failure().expect("it names the limit").violations;
            assert_eq!(quota[0].subject, "cats/recovery_jobs");
        } else {
            second.expect("observed only");
        }
        assert_eq!(env.metric("limit_reached_total"), 1.0, "counted alike");
        create(&mut client, &all, 8).await.expect("no limit");
        if mode == LimitsMode::Enforce {
            let cancel =
                powerstream_gateway::proto::CancelRecoveryJobRequest { job_id: first.job_id, ..Default::default() };
            client.cancel_recovery_job(cats.on(cancel)).await.expect("it exists");
            create(&mut client, &cats, 11).await.expect("room again");
        }
    }
}

/// A peer that guesses is answered late; it learns nothing else, and the calls of others wait for nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeated_refusals_are_answered_late() {
    let all = Secret::new(ALL, 1);
    let mut env = TestEnv::without_gateway(Clock::system(), |_| (), configure);
    env.settings.auth.refusals_per_minute = 3;
    env.settings.auth.refusal_delay = Duration::from_secs(3);
    write_tokens(env.dir(), &[&all]);
    env.start_gateway().await;
    let mut client = env.client().await;
    let clock = Clock::system();
    let begin = clock.moment();
    for n in 1..=4 {
        let call = client.list_streams(bearing(Some("psg_guess"), ListStreamsRequest::default()));
        let refused = in_time("an answer", call).await.expect_err("no such token");
        assert_eq!(reason(&refused), "CREDENTIALS_INVALID");
        let late = clock.moment().since(begin) >= Duration::from_secs(3);
        assert!(n < 4 || late, "the fourth is late");
    }
    // Before the answer to a late one, others of the same connection are served.
    let mut guessing = client.clone();
    let late = tokio::spawn(async move {
        guessing.list_streams(bearing(Some("psg_guess"), ListStreamsRequest::default())).await.map(|_| ())
    });
    in_time("an answer", client.list_streams(all.on(ListStreamsRequest::default()))).await.expect("served");
    assert!(!late.is_finished(), "the late answer takes 3 s");
    in_time("the late answer", late).await.expect("no panic").expect_err("refused");
}

/// A principal that repeats refused calls at once is answered late, whatever the limit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeated_limit_refusals_are_answered_late() {
    let cats = Secret::new(CATS, 2);
    let late = Duration::from_secs(2);
    for limits in [
        RoleLimits { calls_per_second: Some(1), ..RoleLimits::default() },
        RoleLimits { sessions: Some(1), ..RoleLimits::default() },
        RoleLimits { connections: Some(1), ..RoleLimits::default() },
        RoleLimits { replays: Some(0), ..RoleLimits::default() },
    ] {
        let mut env = TestEnv::without_gateway(Clock::system(), |_| (), configure);
        env.settings.roles[1].limits = limits;
        (env.settings.limits.refusals_per_second, env.settings.limits.refusal_delay) = (1, late);
        env.settings.hub.ring_bytes_max = 64 << 10;
        write_tokens(env.dir(), &[&cats]);
        env.start_gateway().await;
        env.connected().await;
        for number in 0..40 {
            env.x.publish(&posts::large_post(number, 8 << 10)).expect("a post");
        }
        env.all_logged().await;
        let clock = Clock::system();
        let (mut first, mut client) = (env.client().await, env.client().await);
        let open = subscribe(&mut first, &cats, latest(&filters::all())).await;
        let mut refusals = Vec::new();
        in_time("a late refusal", async {
            loop {
                let begin = clock.moment();
                let refused = match subscribe(&mut client, &cats, earliest(&filters::all())).await {
                    Ok(mut stream) if limits.replays.is_some() => end_of(&mut stream).await.1,
                    // Its rate allows a call now and then.
                    Ok(_) => continue,
                    Err(refused) => refused,
                };
                assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
                assert!(refused.get_details_retry_info().is_some(), "{refused:?}");
                refusals.push(clock.moment().since(begin));
                if refusals.last() >= Some(&late) {
                    break;
                }
            }
        })
        .await;
        assert!(refusals.len() > 1, "the first is answered at once: {refusals:?}");
        drop(open);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reflection_is_served_as_configured() {
    for (setting, without, with) in [
        (Reflection::Authenticated, Some("CREDENTIALS_MISSING"), None),
        (Reflection::Open, None, None),
        (Reflection::Off, Some("UNIMPLEMENTED"), Some("UNIMPLEMENTED")),
    ] {
        let cats = Secret::new(CATS, 2);
        let mut env = TestEnv::without_gateway(Clock::system(), |_| (), configure);
        env.settings.grpc.reflection = setting;
        write_tokens(env.dir(), &[&cats]);
        env.start_gateway().await;
        for (token, expected) in [(None, without), (Some(cats.token.token.as_str()), with)] {
            let asked = ServerReflectionRequest {
                host: String::new(),
                message_request: Some(MessageRequest::ListServices(String::new())),
            };
            let mut client = ServerReflectionClient::new(channel(&env).await);
            let asked = bearing(token, futures::stream::iter([asked]));
            let answer = in_time("an answer", client.server_reflection_info(asked)).await;
            match (answer, expected) {
                (Ok(mut answer), None) => {
                    let services = in_time("services", answer.get_mut().message()).await.expect("served");
                    assert!(services.is_some());
                }
                (Err(refused), Some("UNIMPLEMENTED")) => assert_eq!(refused.code(), Code::Unimplemented),
                (Err(refused), Some(expected)) => assert_eq!(reason(&refused), expected),
                (answer, expected) => panic!("{setting:?}: {answer:?}, expected {expected:?}"),
            }
        }
    }
}
