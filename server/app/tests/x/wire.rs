//! A response on its way: pieces that can be read from a time on, and an end that may come before they are read.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;

use super::{Arrival, Piece, State, X, words};
use crate::app::tests::plan::End;
use crate::app::tests::truth::Ms;
use crate::xapi::{BodyError, BodyErrorKind};

/// Most pieces that are read at once.
const PIECES_MAX: usize = 16;

struct Wire {
    x: Arc<X>,
    number: usize,
    pieces: VecDeque<Piece>,
    /// The last words of the connection were sent.
    has_spoken: bool,
    is_over: bool,
}

enum Next {
    Bytes(Bytes),
    Broken,
    Over,
    Wait(Option<Ms>),
}

/// The body of a response.
pub(super) fn body(x: Arc<X>, number: usize, mut pieces: Vec<Piece>) -> BoxStream<'static, Result<Bytes, BodyError>> {
    pieces.sort_by_key(|piece| piece.due);
    let wire = Wire { x, number, pieces: pieces.into(), has_spoken: false, is_over: false };
    futures::stream::unfold(wire, |mut wire| async move {
        let piece = wire.read().await?;
        Some((piece, wire))
    })
    .boxed()
}

impl Wire {
    async fn read(&mut self) -> Option<Result<Bytes, BodyError>> {
        if self.is_over {
            return None;
        }
        loop {
            let wait = match self.next() {
                Next::Bytes(bytes) => return Some(Ok(bytes)),
                Next::Broken => {
                    self.close();
                    return Some(Err(BodyError { kind: BodyErrorKind::Cut, detail: "reset by peer".into() }));
                }
                Next::Over => {
                    self.close();
                    return None;
                }
                Next::Wait(until) => until,
            };
            let wake = self.x.look(|state| state.connections[self.number].wake.clone());
            tokio::select! {
                biased;
                () = wake.notified() => {}
                () = async {
                    match wait {
                        Some(until) => self.x.sleep_until(until).await,
                        None => std::future::pending().await,
                    }
                } => {}
            }
        }
    }

    fn next(&mut self) -> Next {
        let now = self.x.now();
        let mut state = self.x.state.lock();
        let ending = state.connections[self.number].ending;
        let over = ending.filter(|(at, _)| *at <= now);
        if over.is_some_and(|(_, end)| end == End::Reset) {
            return Next::Broken;
        }
        let until = over.map_or(now, |(at, _)| at);
        let mut bytes = Vec::new();
        for _ in 0..PIECES_MAX {
            let Some(piece) = self.pieces.pop_front_if(|piece| piece.due <= until) else { break };
            state.send(self.number, &piece, now, &mut bytes);
        }
        if !bytes.is_empty() {
            return Next::Bytes(bytes.into());
        }
        let Some((_, end)) = over else {
            let next = self.pieces.front().map(|piece| piece.due);
            return Next::Wait([next, ending.map(|(at, _)| at)].into_iter().flatten().min());
        };
        if !std::mem::replace(&mut self.has_spoken, true)
            && let Some(bytes) = self.last_words(end, &mut state, now)
        {
            return Next::Bytes(bytes);
        }
        match end {
            End::Stall => Next::Wait(None),
            End::Clean | End::Operational => Next::Over,
            End::Cut | End::Reset | End::Half | End::SlowReader => Next::Broken,
        }
    }

    fn last_words(&self, end: End, state: &mut State, now: Ms) -> Option<Bytes> {
        let words = match end {
            End::SlowReader => {
                let datacenter = state.connections[self.number].datacenter;
                state.without_backfill.insert(datacenter);
                // Its last message may be another one.
                let last = if self.number.is_multiple_of(2) { "" } else { words::OPERATIONAL };
                format!("{}\r\n{last}\r\n", words::SLOW_READER)
            }
            End::Operational => format!("{}\r\n", words::OPERATIONAL),
            End::Half => {
                let (at, ..) = self.pieces.iter().find_map(|piece| piece.post)?;
                let post = &state.posts[at];
                let text = post.payload(post.rules, 0);
                return Some(text[..text.len() / 2].to_owned().into());
            }
            End::Clean | End::Cut | End::Reset | End::Stall => return None,
        };
        state.sign(self.number, now);
        Some(words.into())
    }

    fn close(&mut self) {
        self.is_over = true;
        let now = self.x.now();
        self.x.state.lock().connections[self.number].closed.get_or_insert(now);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.close();
    }
}

impl State {
    fn sign(&mut self, number: usize, now: Ms) {
        let signs = &mut self.connections[number].signs;
        *signs = Some((signs.map_or(now, |(first, _)| first), now));
    }

    /// Adds a piece to what is read, and records it.
    fn send(&mut self, number: usize, piece: &Piece, now: Ms, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&piece.bytes);
        if piece.is_sign {
            self.sign(number, now);
        }
        let Some((post, rules, copy, is_ruined)) = piece.post else { return };
        let payload: Arc<str> = self.posts[post].payload(rules, copy).into();
        if !is_ruined {
            bytes.extend_from_slice(payload.as_bytes());
            bytes.extend_from_slice(b"\r\n");
        }
        self.arrivals.push(Arrival { post, at: now, rules, payload, connection: number, is_ruined, ruin: piece.ruin });
        let created = self.posts[post].created;
        let connection = &mut self.connections[number];
        if !is_ruined && created >= connection.newest {
            connection.newest = created;
            connection.lag = now - created;
        }
    }
}
