//! The state of the upstream, which the leader announces to the replicas that follow: an account is healthy if some
//! replica is connected.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use serde::{Deserialize, Serialize};

use super::replica_link::LeaderName;
use crate::hub::Hub;
use crate::hub::status::upstream_status::{LastActivity, UpstreamState};
use crate::ingest::replication::PlaceCell;
use crate::model::UnixMillis;
use crate::quorum::Bus;

/// Subject of the announcements.
const SUBJECT: &str = "status";
/// Interval of announcements.
const INTERVAL: Duration = Duration::from_secs(1);
/// Without an announcement for this time there is no leader.
const SILENCE_MAX: Duration = Duration::from_secs(3);

/// What the leader announces.
#[derive(Serialize, Deserialize)]
struct Announcement {
    /// Name of the leader.
    leader: String,
    /// Code of the state of its upstream.
    state: u8,
    /// Time of the last byte from upstream.
    last_byte: Option<i64>,
    /// Its place in the shared log. Tips announce places too, but a replica that reads much at once does not receive them.
    #[serde(default)]
    place: Option<u64>,
}

/// Announces the state of the upstream. Runs while this replica, which has this name, leads.
pub(super) async fn announce(hub: Arc<Hub>, bus: Arc<dyn Bus>, name: String, cell: PlaceCell) {
    let mut status = hub.upstream().watch();
    loop {
        let state = status.borrow_and_update().state;
        let last_byte = hub.upstream().last_byte().map(|last| last.time.0);
        let place = Some(cell.get().last);
        let announcement = Announcement { leader: name.clone(), state: code(state), last_byte, place };
        let message = serde_json::to_vec(&announcement).expect("numbers and texts have a form in JSON");
        // A lost one is followed by another.
        bus.publish(SUBJECT, message.into()).await.ok();
        let changed = async { while status.changed().await.is_ok() && status.borrow_and_update().state == state {} };
        hub.clock().timeout(INTERVAL, changed).await.ok();
    }
}

/// Applies the announcements of the leader while this replica follows. Runs as long as the replica.
pub(super) async fn listen(hub: Arc<Hub>, bus: Arc<dyn Bus>, leader: LeaderName, cell: PlaceCell) {
    loop {
        let Ok(mut messages) = bus.subscribe(SUBJECT).await else {
            no_leader(&hub, &leader);
            hub.clock().sleep(INTERVAL).await;
            continue;
        };
        loop {
            match hub.clock().timeout(SILENCE_MAX, messages.next()).await {
                Ok(Some(message)) => apply(&hub, (&leader, &cell), &message.payload),
                Ok(None) => break,
                Err(_) => no_leader(&hub, &leader),
            }
        }
    }
}

fn apply(hub: &Hub, (leader, cell): (&LeaderName, &PlaceCell), message: &[u8]) {
    let Ok(found) = serde_json::from_slice::<Announcement>(message) else { return };
    leader.set(&found.leader);
    let upstream = hub.upstream();
    if !upstream.is_following() {
        return;
    }
    if let Some(place) = found.place {
        cell.note_announced(place);
    }
    set(hub, state(found.state));
    let known = upstream.last_byte().map(|last| last.time.0);
    if let Some(time) = found.last_byte.filter(|time| known.is_none_or(|known| known < *time)) {
        upstream.record_activity(LastActivity { moment: hub.clock().moment(), time: UnixMillis(time) });
    }
}

fn no_leader(hub: &Hub, leader: &LeaderName) {
    leader.set("");
    if hub.upstream().is_following() {
        set(hub, UpstreamState::Connecting);
    }
}

fn set(hub: &Hub, state: UpstreamState) {
    if hub.upstream().status().state != state {
        hub.upstream().update(|status| status.set_shared(state));
    }
}

fn code(state: UpstreamState) -> u8 {
    match state {
        UpstreamState::Stopped => 0,
        UpstreamState::BackingOff => 1,
        UpstreamState::Connecting => 2,
        UpstreamState::Connected => 3,
    }
}

/// A code of a newer program counts as connecting.
fn state(code: u8) -> UpstreamState {
    match code {
        0 => UpstreamState::Stopped,
        1 => UpstreamState::BackingOff,
        3 => UpstreamState::Connected,
        _ => UpstreamState::Connecting,
    }
}
