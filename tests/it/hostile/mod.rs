//! Attacks on the gateway, by class. Each case asserts what the attacker gets, and that a healthy subscriber next to it
//! gets every post.

mod admin;
mod cancelled;
pub mod command;
mod config;
mod disk;
mod files;
mod frames;
mod grpc;
mod h2;
mod hpack;
mod http2;
mod idle;
mod load;
mod operator;
mod process;
mod secrets;
mod stage;
mod unread;
mod upstream;
mod wire;

use powerstream_gateway::proto::Event;
use powerstream_gateway::simulator::SentPost;

use crate::harness::ground_truth::assert_exact;
use crate::harness::{Subscriber, TestEnv, filters, latest, record};

/// How much of an attack is carried out: `HOSTILE=full` takes minutes.
fn scaled(few: u32, full: u32) -> u32 {
    if std::env::var("HOSTILE").is_ok_and(|scale| scale == "full") { full } else { few }
}

/// Everything that is wrong with what a subscriber got of these posts.
fn compare(sent: &[SentPost], got: &[Event]) -> Vec<String> {
    oracle::check(&record::plain(sent, got)).iter().map(ToString::to_string).collect()
}

/// A subscriber with a connection of its own, next to the attacker.
struct Neighbour {
    session: Subscriber,
    sent: Vec<SentPost>,
}

impl Neighbour {
    async fn open(env: &TestEnv) -> Self {
        Self { session: env.subscribe(latest(&filters::all())).await, sent: Vec::new() }
    }

    /// Sends posts, and waits until it has all that were sent so far.
    async fn gets_all(&mut self, env: &mut TestEnv, posts: usize) {
        self.sent.extend(env.post_mix(posts));
        self.session.posts(self.sent.len()).await;
        assert_exact("the neighbour", &self.sent, &self.session.got);
    }
}
