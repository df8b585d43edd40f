//! The end of a connection that the gateway closes: what the client still sends is read and discarded until it closes too.
//!
//! The kernel resets a socket that is closed with unread bytes, and clients send window updates and pings at any time. A
//! reset client may lose frames that it has not read: the status of its session, or GOAWAY.

use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::net::TcpStream;

use crate::clock::Clock;

/// Bytes of one read.
const READ_BYTES: usize = 2 << 10;
/// Bytes that are discarded at most: more than flow control of all streams sends in good faith.
const DISCARDED_BYTES_MAX: usize = 256 << 10;

/// Waits for the client's end of a connection, within a time and a number of bytes.
pub struct LingeringClose {
    clock: Clock,
    timeout: Duration,
    limit: Option<BoxFuture<'static, ()>>,
    left: usize,
}

impl LingeringClose {
    /// Waits no longer than this.
    pub fn new(clock: Clock, timeout: Duration) -> Self {
        Self { clock, timeout, limit: None, left: DISCARDED_BYTES_MAX }
    }

    /// Completes when the socket may be closed. To be polled once all has been sent.
    pub fn poll(&mut self, stream: &TcpStream, cx: &mut Context<'_>) -> Poll<()> {
        let (clock, timeout) = (&self.clock, self.timeout);
        let limit = self.limit.get_or_insert_with(|| {
            let clock = clock.clone();
            async move { clock.sleep(timeout).await }.boxed()
        });
        if limit.poll_unpin(cx).is_ready() {
            return Poll::Ready(());
        }
        let mut bytes = [0; READ_BYTES];
        while self.left > 0 {
            match stream.poll_read_ready(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_)) => break,
                Poll::Ready(Ok(())) => {}
            }
            match stream.try_read(&mut bytes) {
                Ok(0) => break,
                Ok(count) => self.left = self.left.saturating_sub(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => break,
            }
        }
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use socket2::SockRef;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    const LONG: Duration = Duration::from_secs(3_600);
    const PATIENCE: Duration = Duration::from_secs(60);

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let client = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("connected");
        (listener.accept().await.expect("accepted").0, client)
    }

    /// Sends the last bytes, and closes within `limit`.
    async fn close(mut server: TcpStream, limit: Duration) {
        server.write_all(b"bye").await.expect("room");
        SockRef::from(&server).shutdown(std::net::Shutdown::Write).expect("open");
        let mut closing = LingeringClose::new(Clock::system(), limit);
        std::future::poll_fn(|cx| closing.poll(&server, cx)).await;
    }

    /// What a client reads that writes at its leisure.
    async fn read_late(mut client: TcpStream, bytes: &[u8]) -> io::Result<Vec<u8>> {
        client.write_all(bytes).await?;
        let mut last = vec![0; 3];
        client.read_exact(&mut last).await?;
        client.write_all(bytes).await?;
        client.read_to_end(&mut last).await?;
        Ok(last)
    }

    #[tokio::test]
    async fn writing_client_reads_last_bytes() {
        let (server, client) = pair().await;
        let both = async { tokio::join!(read_late(client, b"window update"), close(server, LONG)).0 };
        let read = Clock::system().timeout(PATIENCE, both).await.expect("in time");
        assert_eq!(read.expect("not reset"), b"bye");
    }

    #[tokio::test]
    async fn silent_client_is_closed_at_limit() {
        let (server, mut client) = pair().await;
        close(server, Duration::ZERO).await;
        let mut read = Vec::new();
        client.read_to_end(&mut read).await.expect("nothing was unread");
        assert_eq!(read, b"bye");
    }

    #[tokio::test]
    async fn endless_client_is_closed() {
        let (server, mut client) = pair().await;
        let writing = async { while client.write_all(&[0; 64 << 10]).await.is_ok() {} };
        let both = async { tokio::join!(writing, close(server, LONG)) };
        Clock::system().timeout(PATIENCE, both).await.expect("its bytes are counted");
    }
}
