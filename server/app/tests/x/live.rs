//! What a live connection sends: backfill, live posts, heartbeats, and other messages in between.

use std::collections::VecDeque;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use super::{Piece, State, words};
use crate::app::tests::plan::{End, Extra, Live, Order};
use crate::app::tests::truth::{ALLOWED_LATENESS, MINUTE, Ms, Post, RuleSet, SECOND};

const HEARTBEAT: Ms = 20 * SECOND;

impl State {
    pub(super) fn live(
        &mut self,
        script: &Live,
        asked: Option<u8>,
        now: Ms,
        datacenter: Option<u8>,
    ) -> (Vec<Piece>, Option<(Ms, End)>) {
        let without_backfill = self.without_backfill.remove(&datacenter);
        let mut pieces = Vec::new();
        if script.metadata {
            pieces.push(Piece::line(
                now,
                r#"{"type":"connection_metadata","datacenter":"atla","timestamp":1762557264155}"#,
            ));
        }
        let is_given = script.backfill || !self.shows_without_backfill(now);
        let given = asked.filter(|_| is_given && !without_backfill);
        if let Some(minutes) = given {
            let from = now - Ms::from(minutes) * MINUTE - script.backfill_more + script.edge;
            self.backfill(script, from, now, &mut pieces);
        }
        let until = self.posts.last().map_or(now, |last| last.available().max(now) + 300 * MINUTE);
        let until = script.end.map_or(until, |(after, _)| now + after);
        pieces.extend((1..).map(|number| now + number * HEARTBEAT).take_while(|at| *at <= until).map(Piece::heartbeat));
        self.live_posts(script, (now, until), asked.is_some() && given.is_none(), &mut pieces);
        pieces.retain(|piece| piece.post.is_none_or(|(at, ..)| is_of(&self.posts[at], datacenter)));
        (pieces, script.end.map(|(after, end)| (now + after, end)))
    }

    /// True if a gateway notices that there is no backfill (fewer than `due_min` posts withheld betray nothing): posts came at a steady rate, and many were due since.
    fn shows_without_backfill(&self, now: Ms) -> bool {
        const OUTAGE_MIN: Ms = 150 * SECOND;
        const POSTS_MIN: usize = 20;
        // The last connection in the list is the one that is answered now.
        let mut newest = self.connections.iter().enumerate().rev();
        let Some((_, own)) = newest.next() else { return false };
        let before =
            newest.find(|(_, it)| it.datacenter == own.datacenter && it.window.is_none() && it.signs.is_some());
        let Some((number, before)) = before else { return false };
        let Some((first, last)) = before.signs else { return false };
        let came =
            self.arrivals.iter().filter(|it| it.connection == number && self.posts[it.post].created >= first).count();
        let due = self.posts.iter().filter(|it| own.carries(it) && last < it.created && it.created < now).count();
        let is_steady = number >= self.first_of_process && last - first >= 3 * MINUTE && came >= POSTS_MIN;
        is_steady && now - last >= OUTAGE_MIN && due >= POSTS_MIN
    }

    /// When a connection with this lag sends a post by itself.
    fn sent(post: &Post, lag: Ms) -> Ms {
        post.created + post.late.max(lag)
    }

    fn copy(&mut self) -> u32 {
        self.copies += 1;
        self.copies
    }

    pub(super) fn whole(&mut self, due: Ms, at: usize) -> Piece {
        let copy = self.copy();
        Piece::whole(due, at, self.posts[at].rules_at(due), copy)
    }

    fn backfill(&mut self, script: &Live, from: Ms, now: Ms, pieces: &mut Vec<Piece>) {
        let held = |post: &Post| post.created >= from && Self::sent(post, script.lag) < now;
        let mut held: Vec<usize> = (0..self.posts.len()).filter(|at| held(&self.posts[*at])).collect();
        self.arrange(&mut held, script.order, now as u64);
        let mut due = now;
        for (number, at) in held.into_iter().enumerate() {
            pieces.push(self.whole(due, at));
            if script.twice > 0 && number % script.twice == 0 {
                pieces.push(self.whole(due, at));
            }
            due += script.pace;
        }
    }

    /// Puts posts, which are in the order of their creation, into this order.
    pub(super) fn arrange(&self, posts: &mut [usize], order: Order, seed: u64) {
        let mut rng = StdRng::seed_from_u64(seed);
        match order {
            Order::ByTime => {}
            Order::Any => posts.shuffle(&mut rng),
            Order::WithinMinutes => {
                posts.shuffle(&mut rng);
                posts.sort_by_key(|at| self.posts[*at].created.div_euclid(MINUTE));
            }
        }
    }

    fn live_posts(&mut self, script: &Live, (now, until): (Ms, Ms), is_withheld: bool, pieces: &mut Vec<Piece>) {
        let mut sends: Vec<(Ms, usize)> = Vec::new();
        for (at, post) in self.posts.iter().enumerate() {
            let again = post.again.or(post.more.filter(|_| !post.is_quiet).map(|(when, _)| when));
            let first = Self::sent(post, script.lag);
            // Before the first time it would hide how late the connection is.
            let again = again.filter(|due| script.lag <= ALLOWED_LATENESS || *due >= first);
            // A post of the backfill that is withheld would look like a part of it.
            let again = again.filter(|_| !is_withheld || post.created >= now);
            sends.extend([Some(first), again].into_iter().flatten().map(|due| (due, at)));
        }
        sends.retain(|(due, _)| now <= *due && *due <= until);
        sends.sort_unstable();
        let mut extras: VecDeque<(Ms, Extra)> =
            script.extras.iter().map(|(after, extra)| (now + after, *extra)).collect();
        for (due, at) in sends {
            let mut ruin = None;
            while let Some((when, extra)) = extras.pop_front_if(|(when, _)| *when <= due) {
                match message(when, extra) {
                    Some(piece) => pieces.push(piece),
                    None => ruin = Some(extra),
                }
            }
            let piece = match ruin {
                None => self.whole(due, at),
                Some(extra) => {
                    let copy = self.copy();
                    ruined(due, &self.posts[at], at, copy, extra)
                }
            };
            pieces.push(piece);
        }
    }
}

/// True if a datacenter carries the post.
pub(super) fn is_of(post: &Post, datacenter: Option<u8>) -> bool {
    datacenter.is_none_or(|own| own == post.datacenter())
}

/// A message that is no post; `None` for what is done to a post.
fn message(due: Ms, extra: Extra) -> Option<Piece> {
    match extra {
        Extra::Control(which) => Some(Piece::line(due, words::CONTROL[which % words::CONTROL.len()])),
        Extra::Garbage => Some(Piece::malformed(due, words::GARBAGE)),
        Extra::Page => Some(Piece::malformed(due, words::PAGE)),
        Extra::CutPost | Extra::LongPost | Extra::ForeignPost => None,
    }
}

/// Where the text of a post is cut: in a string, behind a colon, a bracket or an object of an array, or in a number. Behind
/// some of them the next line could belong to the value.
fn cut_at(text: &str, copy: u32) -> usize {
    let marks = ["of a post", r#"[{"tag""#, r#"{"tag""#];
    match copy as usize % 5 {
        mark @ 0..=2 => text.find(marks[mark]).unwrap_or(text.len() / 2),
        3 => text.len() - "]}".len(),
        _ => r#"{"id":21"#.len(),
    }
}

/// A post in a form that the gateway cannot take, but has to announce.
fn ruined(due: Ms, post: &Post, at: usize, copy: u32, extra: Extra) -> Piece {
    let rules: RuleSet = post.rules_at(due);
    let text = post.payload(rules, copy);
    let text = match extra {
        Extra::LongPost => text.replace("copy ", &"long ".repeat(2_000)),
        Extra::ForeignPost => {
            let id = post.id;
            format!(r#"{{"id":"tag:search.example.com,2005:{id}","objectType":"activity","verb":"post","body":"x"}}"#)
        }
        _ => text[..cut_at(&text, copy)].to_owned(),
    };
    Piece {
        post: Some((at, rules, copy, true)),
        ruin: Some(extra),
        is_sign: extra != Extra::CutPost,
        ..Piece::line(due, &text)
    }
}
