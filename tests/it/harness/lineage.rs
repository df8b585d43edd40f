//! One consumer over all its sessions, each from the last token of the one before.

use std::collections::HashSet;

use powerstream_gateway::proto::{Event, StartOutcome, TagFilter};
use powerstream_gateway::simulator::Truth;
use tonic::Status;

use super::gaps::Gaps;
use super::oracle::{Allowed, Order, assert_allowed, expected};
use super::world::Client;
use super::{Subscriber, after, earliest};

/// Where a post was shown: epoch, term, sequence.
pub type Place = (String, u64, u64);

/// One consumer over all its sessions.
#[derive(Clone)]
pub struct Lineage {
    /// What it asks for.
    pub filter: TagFilter,
    /// Its last token.
    pub token: Option<String>,
    /// All posts, in the order they came.
    pub got: Vec<Event>,
    /// Epoch and term of each post.
    pub terms: Vec<(String, u64)>,
    /// Which posts came in batches that are marked as possible repeats.
    pub doubtful: HashSet<usize>,
    /// What it was told of gaps.
    pub gaps: Gaps,
    /// How each session began.
    pub outcomes: Vec<StartOutcome>,
    /// How its last session ended, if it did and there was one.
    pub end: Option<Status>,
}

impl Lineage {
    /// It has not begun.
    pub fn new(filter: TagFilter) -> Self {
        Self {
            filter,
            token: None,
            got: Vec::new(),
            terms: Vec::new(),
            doubtful: HashSet::new(),
            gaps: Gaps::default(),
            outcomes: Vec::new(),
            end: None,
        }
    }

    /// Reads until `done`, or the gateway dies, or even before the session begins.
    pub async fn read(mut self, mut client: Client, mut done: impl FnMut(&Subscriber) -> bool) -> Self {
        self.end = None;
        let request = match &self.token {
            Some(token) => after(token, &self.filter),
            None => earliest(&self.filter),
        };
        let Ok(mut session) = Subscriber::open(&mut client, request).await else { return self };
        while !done(&session) && session.read().await {}
        self.follow(&session);
        self
    }

    /// Takes over what a session brought.
    pub fn follow(&mut self, session: &Subscriber) {
        let had = self.got.len();
        self.token = Some(session.token().to_owned());
        self.gaps.follow(had, session);
        self.terms.extend(session.terms.iter().map(|term| (session.start.epoch.clone(), *term)));
        self.doubtful.extend(session.doubtful.iter().map(|at| had + at));
        self.outcomes.push(session.start.outcome());
        self.got.extend_from_slice(&session.got);
        self.end.clone_from(&session.end);
    }

    /// The same with one session more.
    pub fn with(&self, session: &Subscriber) -> Self {
        let mut own = self.clone();
        own.follow(session);
        own
    }

    /// Where each post was shown.
    pub fn places(&self) -> impl Iterator<Item = (Place, &Event)> {
        let place = |((epoch, term), event): (&(String, u64), &Event)| (epoch.clone(), *term, event.sequence);
        self.terms.iter().zip(&self.got).map(move |both| (place(both), both.1))
    }

    /// Every post of the truth that matches, exactly once, but for what gaps and marks of possible repeats excuse; live
    /// ones in the order they were sent.
    pub fn assert_whole(&self, who: &str, truth: &[Truth]) {
        self.assert_whole_in(Order::OfLive, who, truth);
    }

    /// The same where several connections bring what is live.
    pub fn assert_whole_in_any_order(&self, who: &str, truth: &[Truth]) {
        self.assert_whole_in(Order::Any, who, truth);
    }

    fn assert_whole_in(&self, order: Order, who: &str, truth: &[Truth]) {
        self.gaps.check(who, &self.got);
        let allowed = Allowed { order, missing: self.gaps.excused(), repeated: self.doubtful.clone() };
        let who = format!("{who}, which was told {:#?}", self.gaps.stories());
        assert_allowed(&who, &expected(truth, &self.filter), &self.got, &allowed);
    }
}
