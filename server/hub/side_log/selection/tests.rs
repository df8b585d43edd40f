mod steps;

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;
use crate::hub::entry::{self, Entry};
use crate::hub::side_log::SubscriptionCoverage;
use crate::hub::test_util::{TERM, post_record};
use crate::hub::token::{Keyring, ResumeToken};
use crate::model::{
    AccountName, Epoch, GapCause, Origin, Position, Post, PostId, Record, RecordBody, Term, TimeRange, union_rules,
};

use steps::{Step, any_step};

/// Times are seconds after this.
const BASE: i64 = 1_704_067_200_000;
/// Posts are created within this many seconds.
const SECONDS: i64 = 20;

/// A record of a post.
#[derive(Clone)]
struct Written {
    post: usize,
    sequence: Sequence,
    entry: Arc<Entry>,
}

/// One of the two logs: its records, and the newest record of each post, trimmed or not.
#[derive(Default)]
struct Log {
    records: Vec<Written>,
    earliest: Sequence,
    known: BTreeMap<usize, (Sequence, Arc<[Rule]>)>,
}

impl Log {
    fn next(&self) -> Sequence {
        self.records.last().map_or(1, |record| record.sequence + 1)
    }

    fn at(&self, sequence: Sequence) -> Option<&Written> {
        self.records.get(usize::try_from(sequence - 1).expect("small"))
    }

    fn trim(&mut self, count: u64) {
        self.earliest = (self.earliest + count).min(self.next());
    }
}

/// Two logs as the sequencer writes them, and a subscription that reads them.
struct TestEnv {
    main: Log,
    side: Log,
    /// First record in the side log of the posts of each requested second.
    wanted: Vec<Option<Sequence>>,
    posts: Vec<(PostId, Arc<[Rule]>)>,
    private_gaps: PrivateGaps,
    has_gap: bool,
    takes_all: bool,
    cursor: Sequence,
    /// Deliveries of each post: unmarked, marked.
    got: BTreeMap<usize, (usize, usize)>,
    /// Number of losses between frames.
    losses: usize,
    /// True if nothing was trimmed from the side log.
    is_side_whole: bool,
    /// Posts created up to here may be marked.
    repeats_until: UnixMillis,
}

fn time(second: i64) -> UnixMillis {
    UnixMillis(BASE + second * 1_000)
}

fn rules(tags: &str) -> Arc<[Rule]> {
    tags.chars().map(|tag| Rule { id: Some(u64::from(u32::from(tag))), tag: Some(tag.to_string().into()) }).collect()
}

fn matches(rules: &[Rule]) -> bool {
    let has = |name: &str| rules.iter().any(|rule| rule.tag.as_deref() == Some(name));
    has("a") && !has("x")
}

impl TestEnv {
    fn new(takes_all: bool) -> Self {
        Self {
            main: Log { earliest: 1, ..Log::default() },
            side: Log { earliest: 1, ..Log::default() },
            wanted: vec![None; SECONDS as usize],
            posts: Vec::new(),
            private_gaps: PrivateGaps::default(),
            has_gap: false,
            takes_all,
            cursor: 1,
            got: BTreeMap::new(),
            losses: 0,
            is_side_whole: true,
            repeats_until: UnixMillis(i64::MIN),
        }
    }

    fn created(&self, post: usize) -> UnixMillis {
        self.posts[post].0.created_at().expect("a snowflake id")
    }

    fn second(&self, post: usize) -> usize {
        usize::try_from((self.created(post).0 - BASE) / 1_000).expect("small")
    }

    /// The post arrives in the account's log.
    fn arrive(&mut self, post: usize, tags: &str) {
        let arrived = rules(tags);
        let known = self.main.known.get(&post).cloned();
        let prior = known.as_ref().map(|(_, rules)| rules.clone());
        let now = match &prior {
            None => arrived,
            Some(prior) => match union_rules(prior, &arrived) {
                Some(now) => now,
                None => return,
            },
        };
        let is_requested = self.wanted[self.second(post)].is_some();
        let counterpart = self.side.known.get(&post).cloned().filter(|_| is_requested);
        let record = self.record(post, now.clone(), (prior, known.map(|(sequence, _)| sequence)), counterpart, false);
        let entry = entry::encode(vec![record]).pop().expect("one");
        let sequence = self.main.next();
        self.main.known.insert(post, (sequence, now.clone()));
        self.main.records.push(Written { post, sequence, entry });
    }

    /// Recovery delivers the post to the side log.
    fn recover(&mut self, post: usize, tags: &str) {
        if self.wanted[self.second(post)].is_none() {
            return;
        }
        let counterpart = self.main.known.get(&post).cloned();
        let mut now = rules(tags);
        if let Some((_, rules)) = &counterpart {
            now = union_rules(rules, &now).unwrap_or_else(|| rules.clone());
        }
        let known = self.side.known.get(&post).cloned();
        let mut prior = None;
        if let Some((sequence, rules)) = &known {
            match union_rules(rules, &now) {
                Some(union) => (prior, now) = (Some(rules.clone()), union),
                None if *sequence >= self.side.earliest => return,
                None => now = rules.clone(),
            }
        }
        let record = self.record(post, now.clone(), (prior, known.map(|(sequence, _)| sequence)), counterpart, true);
        // Of the side log's records after the end of a gap, a main record refers only to the newest.
        self.is_side_whole &=
            self.private_gaps.at(Some(self.created(post))).is_none_or(|private_gap| !private_gap.is_closed);
        let sequence = self.side.next();
        self.side.known.insert(post, (sequence, now.clone()));
        let entry = Arc::new(Entry::side(record));
        self.side.records.push(Written { post, sequence, entry });
    }

    fn record(
        &self,
        post: usize,
        rules: Arc<[Rule]>,
        (prior, previous): (Option<Arc<[Rule]>>, Option<Sequence>),
        counterpart: Option<(Sequence, Arc<[Rule]>)>,
        side: bool,
    ) -> Record {
        let sequence = if side { self.side.next() } else { self.main.next() };
        let RecordBody::Post(template) = post_record(sequence, &[]).body else { panic!("it is a post") };
        let (counterpart, counterpart_rules) = counterpart.unzip();
        let post = Post {
            id: self.posts[post].0,
            rules,
            origin: Origin::Live,
            counterpart,
            counterpart_rules,
            previous,
            ..template
        };
        let body = match prior {
            Some(prior) => RecordBody::Delta { prior, post },
            None => RecordBody::Post(post),
        };
        Record { sequence, term: TERM, received: UnixMillis(BASE), body }
    }

    fn note(&mut self, post: usize, delivery: Delivery) {
        let counts = self.got.entry(post).or_default();
        match delivery {
            Delivery::Skip => {}
            Delivery::Once => counts.0 += 1,
            Delivery::PossibleDuplicate => counts.1 += 1,
        }
    }

    /// Removes records before `to` for the subscription: their undelivered posts are in a gap.
    fn lose(&mut self, to: Sequence, cause: GapCause) {
        let not_passed = (0..self.posts.len())
            .filter(|post| self.got.get(post).is_none_or(|counts| *counts == (0, 0)) && matches(&self.posts[*post].1));
        let from = not_passed.map(|post| self.created(post)).min().unwrap_or(time(SECONDS - 1));
        let span = TimeRange::new(from, time(SECONDS));
        self.private_gaps.skip(self.cursor, to, span);
        self.cursor = to;
        // As the time that a token has reached: delivered posts were created before it.
        let delivered = self.got.iter().filter(|(_, counts)| **counts != (0, 0)).map(|(post, _)| self.created(*post));
        let repeats_until = delivered.max().unwrap_or(UnixMillis(i64::MIN));
        self.repeats_until = self.repeats_until.max(repeats_until);
        if cause == GapCause::JournalCorrupt {
            self.private_gaps.note_repeats(span, repeats_until);
        }
        self.private_gaps.add(PrivateGap::new(span, cause, repeats_until, to));
        self.has_gap = true;
        self.losses += 1;
        self.demand();
    }

    /// As `PrivateGaps::demand_new` on a side log.
    fn demand(&mut self) {
        let (earliest, next) = (self.side.earliest, self.side.next());
        for private_gap in self.private_gaps.open_mut().filter(|private_gap| private_gap.offset == 0) {
            let seconds = (private_gap.span.from.0 - BASE) / 1_000..(private_gap.span.to.0 - BASE + 999) / 1_000;
            let mut since = next;
            for second in seconds {
                let wanted = &mut self.wanted[usize::try_from(second).expect("small")];
                since = since.min(*wanted.insert(wanted.unwrap_or(next).max(earliest)));
            }
            (private_gap.since, private_gap.offset) = (since, since);
        }
    }

    fn read_main(&mut self) {
        if self.cursor < self.main.earliest {
            return self.lose(self.main.earliest, GapCause::Trimmed);
        }
        let Some(Written { post, sequence, entry }) = self.main.at(self.cursor).cloned() else { return };
        let event = entry.event().expect("a post");
        let delivery = if self.has_gap || self.takes_all {
            self.private_gaps.select_main(&Candidate { sequence, event, matches }, self.takes_all)
        } else {
            let prior = event.prior.as_deref().is_some_and(matches);
            if matches(&event.rules) && !prior { Delivery::Once } else { Delivery::Skip }
        };
        self.note(post, delivery);
        self.cursor = sequence + 1;
    }

    fn side_cursor(&self) -> Option<Sequence> {
        self.private_gaps.open().map(|private_gap| private_gap.offset).min()
    }

    fn read_side(&mut self) {
        let Some(at) = self.side_cursor().filter(|at| *at < self.side.next()) else { return };
        let earliest = self.side.earliest;
        if at < earliest {
            self.private_gaps
                .open_mut()
                .filter(|private_gap| private_gap.offset < earliest)
                .for_each(|private_gap| private_gap.reset(self.cursor));
            self.losses += 1;
            return self.demand();
        }
        let Written { post, sequence, entry } = self.side.at(at).cloned().expect("it is there");
        let event = entry.event().expect("a post");
        let delivery = self.private_gaps.select_side(&Candidate { sequence, event, matches });
        self.note(post, delivery);
        self.private_gaps.open_mut().for_each(|private_gap| private_gap.offset = private_gap.offset.max(at + 1));
    }

    /// X delivers all posts that it has, everything is read, and the gaps end.
    fn settle(&mut self) {
        for post in 0..self.posts.len() {
            let tags: Vec<_> = self.posts[post].1.iter().filter_map(|rule| rule.tag.as_deref()).collect();
            let tags = tags.concat();
            self.recover(post, &tags);
        }
        while self.cursor < self.main.next() || self.side_cursor().is_some_and(|at| at < self.side.next()) {
            let at = (self.cursor, self.side_cursor(), self.losses);
            self.read_main();
            self.read_side();
            if self.losses > at.2 {
                // Lost posts are requested again.
                return self.settle();
            }
        }
        let spans: Vec<TimeRange> = self.private_gaps.open().map(|private_gap| private_gap.span).collect();
        spans.into_iter().for_each(|span| self.private_gaps.close(span));
    }

    /// The subscription resumes from its token.
    fn resume(&mut self) {
        let keys = Keyring::from_bytes(&[9; 32]);
        let token = ResumeToken {
            account: AccountName::new("main").expect("a name"),
            position: Position { epoch: Epoch(1), term: Term(1), sequence: self.cursor - 1 },
            low_watermark: time(0),
            received_up_to: time(0),
            subscription_start: time(0),
            subscription_from: None,
            filter: 0,
            duplicates_until: None,
            private: Some(self.private_gaps.clone()),
        };
        self.private_gaps = keys.verify(&keys.sign(&token)).expect("ours").private.expect("it is there");
    }
}

/// Posts in the side log before the damage may have reached the subscription by the account's log since, unless they
/// were created after all that the subscription has.
#[test]
fn post_recovered_for_other_before_damage_is_marked() {
    let mut env = TestEnv::new(false);
    for second in [5, 15] {
        env.step(&Step::Create(second));
    }
    env.wanted = vec![Some(1); SECONDS as usize];
    for post in 0..2 {
        env.recover(post, "a");
    }
    env.private_gaps.add(PrivateGap::new(
        TimeRange::new(time(0), time(SECONDS)),
        GapCause::JournalCorrupt,
        time(10),
        1,
    ));
    env.demand();
    for _ in 0..2 {
        env.read_side();
    }
    assert_eq!(env.got, BTreeMap::from([(0, (0, 1)), (1, (1, 0))]));
}

/// A restarted gap marks all that it delivers, from either log: their order is unknown.
#[test]
fn both_logs_mark_posts_of_restarted_gap() {
    let mut env = TestEnv::new(false);
    env.step(&Step::Create(5));
    let private_gap =
        PrivateGap::new(TimeRange::new(time(0), time(SECONDS)), GapCause::LogLost, UnixMillis(i64::MIN), 1);
    env.private_gaps.add(PrivateGap { is_restarted: true, ..private_gap });
    (env.has_gap, env.private_gaps.coverage) = (true, SubscriptionCoverage::from(1));
    env.demand();
    env.arrive(0, "a");
    env.recover(0, "a");
    env.read_side();
    env.read_main();
    assert_eq!(env.got, BTreeMap::from([(0, (0, 2))]));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default() })]

    /// Trims between any frames, damage, DELTAs, records of either log before those of the other, a resume at every
    /// frame, several private gaps, gaps of the account's log over them, posts after the end of a gap.
    #[test]
    fn each_post_is_delivered_once_by_one_log(steps in prop::collection::vec(any_step(), 1..60), takes_all: bool) {
        let mut env = TestEnv::new(takes_all);
        for step in &steps {
            env.step(step);
            env.resume();
        }
        env.settle();
        env.settle();
        env.check();
    }
}
