//! One consumer over all its sessions, with checks of its low watermarks: it has to receive some.

use oracle::{Content, Terms};
use powerstream_gateway::simulator::{SentPost, SimulatorHandle};

use super::{ResumingConsumer, Subscriber, record};

/// One consumer over all its sessions, and the low watermarks that it was given.
pub struct Watched {
    /// What it got.
    pub consumer: ResumingConsumer,
}

impl Watched {
    /// It has not begun.
    pub fn new(consumer: ResumingConsumer) -> Self {
        Self { consumer }
    }

    /// Adds the frames of a session.
    pub fn follow(&mut self, session: &Subscriber) {
        self.consumer.follow(session);
    }

    /// Nothing is against the contract, where these posts are carried by some feed. There were heartbeats.
    pub fn verify(&self, label: &str, x: &SimulatorHandle, is_carried: impl Fn(&SentPost) -> bool) {
        let frames = self.consumer.sessions.iter().flat_map(|session| &session.frames);
        let beats = frames.filter(|frame| matches!(frame.content, Content::Heartbeat { .. })).count();
        assert!(beats > 3, "{label}: {beats} heartbeats");
        let terms = Terms { live_max: 2, ..Terms::new() };
        let history = record::history(x, vec![self.consumer.record(0)], terms, is_carried);
        record::assert_sound(&format!("{label}: {:#?}", self.consumer.gaps.stories()), &history);
    }
}
