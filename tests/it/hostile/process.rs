//! Signals: handled from the first moment on, and at any time.

use std::time::Duration;

use powerstream_gateway::clock::Clock;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::Signal;
use tokio::net::TcpStream;

use crate::harness::ground_truth::assert_exact;
use crate::harness::process::Gateway;
use crate::harness::{Subscriber, TestEnv, eventually, filters, latest, posts};

/// A FIFO in place of gaps.json blocked the start forever, and SIGTERM was not handled meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifo_as_state_file_blocks_nothing() {
    for (name, starts) in [("gaps.json", true), ("jobs.json", true), ("times.json", true), ("identity", false)] {
        let env = TestEnv::without_gateway(Clock::system(), |_| (), |_| ());
        let log = env.log_dir("main");
        std::fs::create_dir_all(&log).expect("the directory is ours");
        mknodat(CWD, log.join(name), FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("the directory is ours");
        let mut gateway = Gateway::spawn(&env.settings, env.dir());
        if starts {
            // Its content is in the log, too; it is replaced by a file.
            eventually("it serves", async || gateway.log().contains("listening")).await;
            env.connected().await;
            gateway.terminate();
        }
        let code = gateway.exited().await.code();
        assert_eq!(code, Some(if starts { 0 } else { 1 }), "{name}: {}", gateway.log());
        assert!(starts || gateway.log().contains("not a regular file"), "{name}: {}", gateway.log());
    }
}

/// SIGHUP, as a terminal sends it that closes or a habit of operators, ended the process without a drain.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sighup_reloads_and_ends_no_session() {
    let env = TestEnv::without_gateway(Clock::system(), |_| (), |_| ());
    let mut gateway = Gateway::start(&env.settings, env.dir()).await;
    env.connected().await;
    let mut reader = Subscriber::open(&mut gateway.client().await, latest(&filters::all())).await.expect("it begins");
    for number in 0..3 {
        gateway.signal(Signal::HUP);
        let logged = || gateway.log().matches("configuration reloaded").count();
        eventually("it is logged", async || logged() > number).await;
        env.x.publish(&posts::post(number, &["cats"])).expect("a post");
        reader.posts(number + 1).await;
    }
    assert_exact("the reader", &env.x.sent_posts(), &reader.got);
    gateway.terminate();
    assert_eq!(gateway.exited().await.code(), Some(0));
}

/// The second and the third SIGINT were ignored as long as the drain took.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn second_signal_stops_at_once() {
    let long = |settings: &mut powerstream_gateway::config::Settings| {
        settings.shutdown_timeout = Duration::from_secs(3_600);
    };
    let env = TestEnv::without_gateway(Clock::system(), |_| (), long);
    let mut gateway = Gateway::start(&env.settings, env.dir()).await;
    env.connected().await;
    let stalled = gateway.client().await.subscribe(latest(&filters::all())).await.expect("it begins");
    let silent = TcpStream::connect(gateway.grpc()).await.expect("it listens");
    for number in 0..40 {
        env.x.publish(&posts::large_post(number, 64 << 10)).expect("a post");
    }
    gateway.signal(Signal::INT);
    eventually("it stops", async || gateway.log().contains("stopping on signal")).await;
    gateway.signal(Signal::INT);
    assert_eq!(gateway.exited().await.code(), Some(1), "{}", gateway.log());
    drop((stalled, silent));
}
