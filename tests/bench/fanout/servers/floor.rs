//! The floor of latency: the player itself writes each post to every subscriber, and nothing stands between.

use std::io::Write;
use std::time::{Duration, Instant};

use super::{listen, text};
use crate::posts::Posts;
use crate::process::pause;
use crate::wire::plain::STAMP_BYTES;
use crate::wire::{Fault, shared_clock};

/// How long the last posts have to be read before the sockets close.
const LINGER: Duration = Duration::from_secs(5);

/// Waits for so many subscribers and plays to them at a fixed rate; each payload begins with the time of its writing.
pub fn serve(port: u16, subscribers: u64, posts: u64, pace: (u64, u32)) -> Result<(), Fault> {
    let (per_second, burst) = pace;
    let listener = listen(port)?;
    let mut sockets = Vec::new();
    for _ in 0..subscribers {
        let (mut socket, _) = listener.accept().map_err(text)?;
        socket.set_nodelay(true).map_err(text)?;
        // An empty frame confirms the subscription.
        socket.write_all(&frame(&[])).map_err(text)?;
        sockets.push(socket);
    }
    let mut supply = Posts::new();
    let every = Duration::from_secs(1) * burst / u32::try_from(per_second).map_err(text)?;
    let began = Instant::now();
    for nth in 0..posts {
        let due = began + every * u32::try_from(nth / u64::from(burst)).map_err(text)?;
        if let Some(wait) = due.checked_duration_since(Instant::now()) {
            pause(wait);
        }
        let frame = frame(supply.draw());
        for socket in &mut sockets {
            socket.write_all(&frame).map_err(text)?;
        }
    }
    pause(LINGER);
    Ok(())
}

fn frame(post: &[u8]) -> Vec<u8> {
    let mut frame = ((post.len() + STAMP_BYTES) as u32).to_be_bytes().to_vec();
    frame.extend_from_slice(&(shared_clock().as_nanos() as u64).to_be_bytes());
    frame.extend_from_slice(post);
    frame
}
