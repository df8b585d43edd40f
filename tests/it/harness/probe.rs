//! Asks the admin port, byte by byte, as any HTTP client would.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::in_time;

/// Status and body of a GET. A gateway on a fast clock waits milliseconds for a request, which a busy machine may exceed:
/// a connection that it closes without an answer is followed by another.
pub async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let request = format!("GET {path} HTTP/1.1\r\nhost: gateway\r\n\r\n");
    let answer = in_time("an answer", async {
        loop {
            let answer = exchange(address, request.as_bytes()).await;
            if !answer.is_empty() {
                return answer;
            }
            tokio::task::yield_now().await;
        }
    });
    let answer = String::from_utf8(answer.await).expect("it answers in UTF-8");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, body.to_owned())
}

/// Sends bytes and reads until the other side closes.
pub async fn exchange(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    // The other side may close before all is sent: what it answered counts.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = in_time("the end of the connection", stream.read_to_end(&mut answer)).await;
    answer
}
