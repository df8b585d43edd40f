use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::config::Config;
use super::post::{Generator, Playback};
use super::publish::renewed;
use super::state::SimulatorState;

/// Interval of bursts in real time, close to the precision of a timer.
const TICK: Duration = Duration::from_millis(5);
/// A burst makes up for this long at most, so that a pause of the process is no flood.
const CATCH_UP: Duration = Duration::from_secs(1);

/// Where posts come from.
pub(super) enum PostSource {
    Drawn(Box<Generator>),
    Played(Playback),
}

impl PostSource {
    pub(super) fn open(config: &Config) -> std::io::Result<Self> {
        Ok(match &config.posts {
            Some(path) => Self::Played(Playback::open(path, config.at_end)?),
            None => Self::Drawn(Box::new(Generator::new(config.seed))),
        })
    }

    pub(super) fn left_out(&self) -> u64 {
        match self {
            Self::Played(playback) => playback.left_out(),
            Self::Drawn(_) => 0,
        }
    }

    /// Makes the next post; false if there is none.
    fn step(&mut self, state: &SimulatorState) -> bool {
        let (json, minted) = match self {
            Self::Drawn(generator) => {
                let minted = state.mint(generator.below(state.config().datacenters.len()));
                (generator.draw(minted), Some(minted))
            }
            Self::Played(playback) => {
                let Some((line, again)) = playback.next() else { return false };
                let minted = again.then(|| state.mint(0));
                (minted.map_or_else(|| line.clone(), |minted| renewed(&line, minted)), minted)
            }
        };
        state.count(|counters| counters.drawn += 1);
        let Ok(post) = serde_json::from_str::<Value>(&json) else { return true };
        if matches!(self, Self::Played(_)) && !state.config().match_posts {
            state.send_as_it_is(json, &post);
            return true;
        }
        state.offer(&json, &post, minted.unwrap_or_else(|| state.minted_as(&post)));
        true
    }
}

/// Makes posts at the pace that is set, until the process stops.
pub(super) async fn run(state: Arc<SimulatorState>, mut source: PostSource) {
    let shutdown = state.tasks.shutdown().clone();
    let mut pace = state.pace.subscribe();
    let tick = TICK.mul_f64(state.clock.rate());
    let mut due_posts = 0.0;
    let mut before = state.clock.moment();
    loop {
        let now = *pace.borrow_and_update();
        if now.paused || now.rate <= 0.0 {
            tokio::select! {
                _ = pace.changed() => {}
                () = shutdown.cancelled() => return,
            }
            before = state.clock.moment();
            continue;
        }
        tokio::select! {
            () = state.clock.sleep(tick) => {}
            () = shutdown.cancelled() => return,
        }
        let moment = state.clock.moment();
        due_posts += now.rate * moment.since(before).min(CATCH_UP.mul_f64(state.clock.rate())).as_secs_f64();
        before = moment;
        while due_posts >= 1.0 {
            due_posts -= 1.0;
            match step_unless_paused(&mut source, &state) {
                None => break,
                Some(true) => {}
                Some(false) => return,
            }
            tokio::task::consume_budget().await;
        }
    }
}

/// Makes the next post; `None` if posts are paused. A pause returns only when no post is being made.
fn step_unless_paused(source: &mut PostSource, state: &SimulatorState) -> Option<bool> {
    let _making = state.producing.lock();
    (!state.pace.borrow().paused).then(|| source.step(state))
}
