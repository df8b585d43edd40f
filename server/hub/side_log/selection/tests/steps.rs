//! Steps of a history of the two logs and the subscription.

use super::*;

#[derive(Clone, Debug)]
pub(super) enum Step {
    /// A new post.
    Create(i64),
    /// It arrives in the account's log under these rules.
    Arrive(prop::sample::Index, &'static str),
    /// Recovery delivers it to the side log.
    Recover(prop::sample::Index, &'static str),
    /// Recovery delivers it for a gap of the account's log and to the side log.
    RecoverBoth(prop::sample::Index, &'static str),
    TrimMain(u64),
    TrimSide(u64),
    Damage(u64),
    ReadMain(usize),
    ReadSide(usize),
    /// X delivers all posts that it has, and the gaps end.
    Settle,
}

pub(super) fn any_step() -> impl Strategy<Value = Step> {
    let post = || any::<prop::sample::Index>();
    let tags = || prop_oneof![4 => Just("a"), 2 => Just("b"), 2 => Just("ab"), 1 => Just("c")];
    prop_oneof![
        4 => (0..SECONDS).prop_map(Step::Create),
        6 => (post(), tags()).prop_map(|(post, tags)| Step::Arrive(post, tags)),
        4 => (post(), tags()).prop_map(|(post, tags)| Step::Recover(post, tags)),
        2 => (post(), tags()).prop_map(|(post, tags)| Step::RecoverBoth(post, tags)),
        3 => (1_u64..5).prop_map(Step::TrimMain),
        1 => (1_u64..4).prop_map(Step::TrimSide),
        1 => (1_u64..3).prop_map(Step::Damage),
        5 => (1_usize..4).prop_map(Step::ReadMain),
        5 => (1_usize..4).prop_map(Step::ReadSide),
        1 => Just(Step::Settle),
    ]
}

impl TestEnv {
    /// Returns true if X may deliver the post to the side log alone. After the end of a gap X has no further posts of
    /// it.
    fn may_recover(&self, post: usize) -> bool {
        let is_open = self.private_gaps.at(Some(self.created(post))).is_some_and(|private_gap| !private_gap.is_closed);
        self.wanted[self.second(post)].is_some() && (is_open || matches(&self.posts[post].1))
    }

    pub(super) fn step(&mut self, step: &Step) {
        let posts = self.posts.len();
        let note = |env: &mut Self, post: &prop::sample::Index, tags: &str| {
            let post = (posts > 0).then(|| post.index(posts))?;
            let is_taken = !matches!(step, Step::Recover(..)) || env.may_recover(post);
            let known = is_taken.then_some(&mut env.posts[post].1)?;
            *known = union_rules(known, &rules(tags)).unwrap_or_else(|| known.clone());
            Some(post)
        };
        match step {
            Step::Create(second) => {
                let id = PostId(PostId::lowest_at(time(*second)).0 + posts as u64);
                self.posts.push((id, rules("")));
            }
            Step::Arrive(post, tags) => {
                if let Some(post) = note(self, post, tags) {
                    self.arrive(post, tags);
                }
            }
            Step::Recover(post, tags) => {
                if let Some(post) = note(self, post, tags) {
                    self.recover(post, tags);
                }
            }
            Step::RecoverBoth(post, tags) => {
                if let Some(post) = note(self, post, tags) {
                    self.arrive(post, tags);
                    self.recover(post, tags);
                }
            }
            Step::TrimMain(count) => self.main.trim(*count),
            Step::TrimSide(count) => {
                self.side.trim(*count);
                self.is_side_whole = false;
            }
            Step::Damage(count) => {
                let to = (self.cursor + count).min(self.main.next());
                if self.cursor >= self.main.earliest && to > self.cursor {
                    self.lose(to, GapCause::JournalCorrupt);
                }
            }
            Step::ReadMain(count) => (0..*count).for_each(|_| self.read_main()),
            Step::ReadSide(count) => (0..*count).for_each(|_| self.read_side()),
            Step::Settle => self.settle(),
        }
    }

    /// Each matching post is delivered, unmarked at most once, and exactly once unless something was lost twice.
    pub(super) fn check(&self) {
        for (post, (_, known)) in self.posts.iter().enumerate() {
            let (unmarked, marked) = self.got.get(&post).copied().unwrap_or_default();
            let is_seen = self.main.known.contains_key(&post) || self.side.known.contains_key(&post);
            assert!(unmarked <= 1, "post {post} is repeated unmarked: {unmarked}, {marked}");
            if is_seen && matches(known) {
                assert!(unmarked + marked >= 1, "post {post} is lost");
            }
            if self.losses <= 1 && self.is_side_whole && self.created(post) > self.repeats_until {
                assert!(marked == 0, "post {post} is marked although all is known");
            }
        }
    }
}
