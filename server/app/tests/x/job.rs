//! What a recovery request is answered with.
//!
//! What nothing on the wire betrays is left out: minutes are left out without a word, or with a count that does not fit, in
//! no two requests that follow each other; and an answer that breaks off shows that its posts are in no order, or has them in order.

use std::collections::BTreeSet;

use super::{Piece, State, words};
use crate::app::tests::plan::{End, Job, Order, Word};
use crate::app::tests::truth::{MINUTE, Ms, SECOND};

/// The posts of an answer, and its last message.
struct Content {
    posts: Vec<usize>,
    word: Option<(String, bool)>,
}

impl State {
    pub(super) fn job(&mut self, script: &Job, window: (Ms, Ms), now: Ms) -> (Vec<Piece>, Option<(Ms, End)>) {
        let (from, to) = window;
        let held = |at: &usize| {
            let post = &self.posts[*at];
            let bounds = from + script.edge..to + script.edge;
            bounds.contains(&post.created) && post.available() <= now
        };
        let all: Vec<usize> = (0..self.posts.len()).filter(held).collect();
        let content = self.content(script, all.clone(), window);
        self.note_held_back(&all, &content.posts, window);
        let beats = (0..script.delay / (20 * SECOND)).map(|number| Piece::heartbeat(now + number * 20 * SECOND));
        let mut pieces: Vec<Piece> = beats.collect();
        let mut due = now + script.delay;
        for at in content.posts {
            pieces.push(self.whole(due, at));
            due += script.pace;
        }
        if let Some((text, is_sign)) = content.word {
            pieces.push(Piece { is_sign, ..Piece::line(due, &text) });
        }
        // What is withheld is named at the end, or nothing betrays it.
        let names = matches!(script.word, Word::CountedLess(_) | Word::WithErrors(_) | Word::Failed);
        (pieces, Some((due, if names { End::Clean } else { script.end })))
    }

    fn content(&self, script: &Job, mut posts: Vec<usize>, window: (Ms, Ms)) -> Content {
        let count = posts.len();
        let minute = |at: usize| self.posts[at].created.div_euclid(MINUTE) * MINUTE;
        let free = |at: &usize| !self.held_back.contains(&minute(*at));
        let sent = count * usize::from(script.sent) / 100;
        let mut order = script.order;
        let word = match script.word {
            Word::Completed => Some((words::completed(None), true)),
            Word::Counted => Some((words::completed(Some(count)), true)),
            Word::CountedLess(every) => {
                posts.retain(|at| !free(at) || !self.posts[*at].id.is_multiple_of(u64::from(every)));
                Some((words::completed(Some(count)), true))
            }
            Word::WithErrors(every) => {
                let left_out = |at: usize| (minute(at) / MINUTE) % Ms::from(every) == 0;
                let minutes: BTreeSet<Ms> =
                    posts.iter().map(|at| minute(*at)).filter(|m| (m / MINUTE) % Ms::from(every) == 0).collect();
                posts.retain(|at| !left_out(*at));
                let minutes: Vec<Ms> = minutes.into_iter().collect();
                Some((if minutes.is_empty() { words::completed(None) } else { words::with_errors(&minutes) }, true))
            }
            Word::Failed if sent < count => {
                let cut = minute(posts[sent]).max(window.0);
                posts.retain(|at| self.posts[*at].created < cut);
                Some((words::failed(cut, window.1), true))
            }
            Word::Failed => Some((words::completed(None), true)),
            Word::None => None,
            Word::Error => Some((words::RECOVERY_ERROR.to_owned(), true)),
            Word::Page => Some((words::PAGE.to_owned(), false)),
            Word::Garbage => Some((words::GARBAGE.to_owned(), false)),
        };
        let is_partial = matches!(script.word, Word::None | Word::Error | Word::Page | Word::Garbage);
        if is_partial {
            let silent = script.word == Word::None && script.end == End::Clean;
            if order == Order::Any && (silent || !self.shows_disorder(&posts, sent, window)) {
                order = Order::WithinMinutes;
            }
            if !silent || posts[sent..].iter().all(free) {
                self.arrange(&mut posts, order, window.0 as u64);
                posts.truncate(sent);
                return Content { posts, word };
            }
        }
        self.arrange(&mut posts, order, window.0 as u64);
        Content { posts, word }
    }

    /// True if a reader sees that these are in no order.
    fn shows_disorder(&self, posts: &[usize], sent: usize, window: (Ms, Ms)) -> bool {
        let mut posts = posts.to_vec();
        self.arrange(&mut posts, Order::Any, window.0 as u64);
        let mut newest = 0;
        posts[..sent].iter().any(|at| {
            let created = self.posts[*at].created;
            newest = newest.max(created);
            created + MINUTE < newest
        })
    }

    /// Minutes of which something was left out without a word are whole the next time.
    fn note_held_back(&mut self, all: &[usize], sent: &[usize], (from, to): (Ms, Ms)) {
        let sent: BTreeSet<usize> = sent.iter().copied().collect();
        self.held_back.retain(|minute| *minute < from - MINUTE || *minute >= to);
        let minutes =
            all.iter().filter(|at| !sent.contains(at)).map(|at| self.posts[*at].created.div_euclid(MINUTE) * MINUTE);
        self.held_back.extend(minutes);
    }
}
