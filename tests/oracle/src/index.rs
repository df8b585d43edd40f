//! A history, indexed by posts and payloads.

use std::collections::HashMap;

use crate::history::{Connection, History, Ms, Post, Rule, Write};
use crate::seen::{Event, Origin};

/// So many posts that do not come show by silence that a connection is late.
const MISSING_MAX: usize = 6;

pub(crate) struct Index<'a> {
    pub(crate) history: &'a History,
    posts: HashMap<u64, usize>,
    /// Every rule of upstream, once.
    rules: Vec<&'a Rule>,
    /// Places of the writes of each post, in the order of the history.
    writes: Vec<Vec<usize>>,
}

impl<'a> Index<'a> {
    pub(crate) fn new(history: &'a History) -> Self {
        let posts = history.posts.iter().enumerate().map(|(at, post)| (post.id, at)).collect();
        let mut writes = vec![Vec::new(); history.posts.len()];
        for (at, write) in history.writes.iter().enumerate() {
            writes[write.post].push(at);
        }
        let mut rules: Vec<&Rule> = Vec::new();
        for rule in history.posts.iter().flat_map(|post| &post.rules_ever) {
            if !rules.contains(&rule) {
                rules.push(rule);
            }
        }
        Self { history, posts, rules, writes }
    }

    /// The rules that an event is delivered with.
    pub(crate) fn rules_of(&self, event: &Event) -> Vec<Rule> {
        let known = |(id, tag): &(u64, Option<String>)| {
            let rule = self.rules.iter().find(|rule| rule.id == *id && rule.tag.as_deref() == tag.as_deref());
            rule.map_or_else(|| Rule { id: *id, tag: tag.as_deref().map(Into::into) }, |rule| (*rule).clone())
        };
        event.rules.iter().map(known).collect()
    }

    /// The place of a post.
    pub(crate) fn place(&self, id: u64) -> Option<usize> {
        self.posts.get(&id).copied()
    }

    pub(crate) fn post(&self, id: u64) -> Option<&'a Post> {
        self.place(id).map(|at| &self.history.posts[at])
    }

    /// All writes of a post, with their places.
    pub(crate) fn all_writes(&self, post: usize) -> impl Iterator<Item = (usize, &'a Write)> + '_ {
        self.writes[post].iter().map(|at| (*at, &self.history.writes[*at]))
    }

    /// Those of them that can be taken.
    pub(crate) fn writes(&self, post: usize) -> impl Iterator<Item = (usize, &'a Write)> + '_ {
        self.all_writes(post).filter(|(_, write)| !write.is_ruined)
    }

    /// True for a post that came only after the live connection that it was due on had ended, because that one was later
    /// than allowed, although none of its posts had shown that, and too few were missing for the silence to show it.
    pub(crate) fn is_unshown(&self, place: usize, post: &Post) -> bool {
        let (history, late) = (self.history, self.history.terms.lateness);
        let live = history.connections.iter().enumerate().filter(|(_, own)| own.is_live());
        live.filter_map(|(number, own)| Some((number, own.signs?))).any(|(number, (first, last))| {
            let is_due = |created: Ms| first <= created && created + late < last;
            let own = || history.writes.iter().filter(move |write| write.connection == number && !write.is_ruined);
            let created = |write: &Write| history.posts[write.post].created;
            let newest = own().map(created).max().unwrap_or(first);
            let carries = |post: &Post| history.connections[number].feed.is_none_or(|feed| feed == post.feed);
            let missing = |it: &&Post| carries(it) && it.created > newest && is_due(it.created);
            let missing = history.posts.iter().filter(missing).count();
            let is_shown = own().any(|write| created(write) >= first && write.at - created(write) > late);
            let is_silent = own().next().is_some() && missing >= MISSING_MAX;
            let is_sent_later = !own().any(|it| it.post == place) && self.writes(place).any(|(_, it)| it.at > last);
            carries(post) && is_due(post.created) && is_sent_later && !is_shown && !is_silent
        })
    }

    pub(crate) fn connection(&self, write: &Write) -> &'a Connection {
        &self.history.connections[write.connection]
    }

    /// The writes that an event may come from, by its payload.
    pub(crate) fn by_payload(&self, event: &Event) -> Vec<usize> {
        let Some(post) = self.place(event.id) else { return Vec::new() };
        self.writes(post).filter(|(_, write)| *write.payload == *event.json).map(|(at, _)| at).collect()
    }

    /// The writes that an event may come from, by its payload and origin.
    pub(crate) fn sources(&self, event: &Event) -> Vec<usize> {
        let is_recovery = event.origin == Origin::Recovery;
        let mut found = self.by_payload(event);
        found.retain(|at| self.connection(&self.history.writes[*at]).window.is_some() == is_recovery);
        found
    }

    /// True if no log that got this write was lost since.
    pub(crate) fn is_kept(&self, write: &Write) -> bool {
        !self.history.losses.iter().any(|loss| loss.at >= write.at && loss.kept_to < write.at)
    }

    /// True if it is certain that the account's log got this write and still has it.
    pub(crate) fn is_logged(&self, write: &Write) -> bool {
        write.is_read && self.connection(write).window.is_none() && self.is_kept(write)
    }

    /// A time as seconds since the history began.
    pub(crate) fn relative(&self, time: Ms) -> f64 {
        (time.max(self.history.from - 86_400_000) - self.history.from) as f64 / 1_000.0
    }

    /// When a post was created and written, for people.
    pub(crate) fn about(&self, id: u64) -> String {
        let Some(at) = self.place(id) else { return "not of upstream".into() };
        let described = |(_, write): (usize, &Write)| {
            let kind = match (write.is_ruined, write.is_read) {
                (true, _) => " ruined",
                (false, true) => "",
                (false, false) => " perhaps",
            };
            format!("{} on {}{kind}", self.relative(write.at), write.connection)
        };
        let written: Vec<String> = self.all_writes(at).map(described).collect();
        format!("created {}, written {written:?}", self.relative(self.history.posts[at].created))
    }
}

/// True if all of `some` are in `all`.
pub(crate) fn is_subset(some: &[Rule], all: &[Rule]) -> bool {
    some.iter().all(|rule| all.contains(rule))
}
