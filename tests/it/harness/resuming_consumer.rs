//! One consumer over all its sessions, each from the last token of the one before.

use std::collections::HashSet;

use powerstream_gateway::proto::{Event, StartOutcome, TagFilter};
use powerstream_gateway::simulator::SimulatorHandle;
use tonic::Status;

use super::env::Client;
use super::gaps::Gaps;
use super::{Subscriber, after, earliest, record};

/// One consumer over all its sessions.
#[derive(Clone)]
pub struct ResumingConsumer {
    /// What it asks for.
    pub filter: TagFilter,
    /// Its last token.
    pub token: Option<String>,
    /// All posts, in the order they came.
    pub got: Vec<Event>,
    /// Epoch and term of each post.
    pub terms: Vec<(String, String)>,
    /// Which posts came in batches that are marked as possible repeats.
    pub doubtful: HashSet<usize>,
    /// Its gap reports.
    pub gaps: Gaps,
    /// How each session began.
    pub outcomes: Vec<StartOutcome>,
    /// How its last session ended, if it did and there was one.
    pub end: Option<Status>,
    /// All its sessions, for the oracle.
    pub sessions: Vec<oracle::Session>,
    x: SimulatorHandle,
}

impl ResumingConsumer {
    /// It has not begun; the times of what it gets are those of this upstream.
    pub fn new(x: &SimulatorHandle, filter: TagFilter) -> Self {
        Self {
            filter,
            token: None,
            got: Vec::new(),
            terms: Vec::new(),
            doubtful: HashSet::new(),
            gaps: Gaps::default(),
            outcomes: Vec::new(),
            end: None,
            sessions: Vec::new(),
            x: x.clone(),
        }
    }

    /// Reads until `done`, or the gateway dies, or even before the session begins.
    pub async fn read(mut self, mut client: Client, mut done: impl FnMut(&Subscriber) -> bool) -> Self {
        self.end = None;
        let request = match &self.token {
            Some(token) => after(token, &self.filter),
            None => earliest(&self.filter),
        };
        let Ok(mut session) = Subscriber::watching(Some(&self.x), &mut client, request).await else { return self };
        while !done(&session) && session.read().await {}
        self.follow(&session);
        self
    }

    /// Adds the frames of a session.
    pub fn follow(&mut self, session: &Subscriber) {
        let had = self.got.len();
        self.token = Some(session.token().to_owned());
        self.gaps.follow(had, session);
        self.terms.extend(session.terms.iter().map(|term| (session.start.epoch.clone(), term.clone())));
        self.doubtful.extend(session.doubtful.iter().map(|at| had + at));
        self.outcomes.push(session.start.outcome());
        self.got.extend_from_slice(&session.got);
        self.end.clone_from(&session.end);
        self.sessions.push(session.record.clone());
    }

    /// The same with one session more.
    pub fn with(&self, session: &Subscriber) -> Self {
        let mut own = self.clone();
        own.follow(session);
        own
    }

    /// All of it, in the words of the oracle.
    pub fn record(&self, number: usize) -> oracle::Subscription {
        oracle::Subscription { number, filter: record::filter(&self.filter), sessions: self.sessions.clone() }
    }

    /// What happened up to now, seen by this consumer.
    pub fn history(&self, terms: oracle::Terms) -> oracle::History {
        record::history(&self.x, vec![self.record(0)], terms, |_| true)
    }

    /// Nothing that it got, or did not get, is against the contract; so many live connections are allowed.
    pub fn assert_whole(&self, label: &str, live_max: usize) {
        let terms = oracle::Terms { live_max, ..oracle::Terms::new() };
        record::assert_sound(&format!("{label}, which received {:#?}", self.gaps.stories()), &self.history(terms));
    }
}
