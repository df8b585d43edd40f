//! Cases of bytes on the gRPC port, and what the gateway makes of them.

use std::time::Duration;

use super::frames::{PING, frame};
use super::h2::{MARK, Raw};
use super::stage::Stage;

/// The longest time until a case has its outcome.
const OUTCOME_MAX: Duration = Duration::from_secs(45);

/// Bytes of a connection, and what the gateway makes of them: see [`Raw::outcome`].
pub struct Case {
    name: String,
    bytes: Vec<u8>,
    stream: u32,
    outcome: &'static str,
}

/// A case whose outcome is that of stream 1.
pub fn case(name: impl Into<String>, bytes: impl Into<Vec<u8>>, outcome: &'static str) -> Case {
    Case { name: name.into(), bytes: bytes.into(), stream: 1, outcome }
}

impl Case {
    /// The outcome is that of this stream.
    pub fn of(self, stream: u32) -> Self {
        Self { stream, ..self }
    }
}

/// Plays cases, each on a connection of its own; `begun` if preface and settings are sent before.
pub async fn play(stage: &mut Stage, cases: Vec<Case>, begun: bool) {
    let address = stage.grpc();
    for Case { name, bytes, stream, outcome } in cases {
        let attack = async {
            let mut raw = if begun { Raw::connect(address, &[]).await } else { Raw::bare(address).await };
            if begun {
                // Its windows are larger than they are before.
                raw.until("its settings", |raw| raw.settled).await;
            }
            raw.send(&bytes).await;
            if begun {
                raw.send(&frame(PING, 0, 0, &MARK)).await;
            }
            let found = raw.outcome_within(OUTCOME_MAX, stream, outcome).await;
            let (why, goaway) = (&raw.why, &raw.goaway);
            if found == outcome { Ok(()) } else { Err(format!("{found}, not {outcome} ({why} {goaway:?})")) }
        };
        stage.play(&name, attack).await;
    }
}
