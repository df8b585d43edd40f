use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::clock::Clock;
use crate::secret::Secret;
use crate::xapi::{ClientOptions, RuleCommand, RuleKey};

const DEADLINE: Duration = Duration::from_secs(60);

fn client() -> Client {
    let options = ClientOptions { connect_timeout: DEADLINE, proxy: None, ca_file: None };
    Client::new(&options, &Clock::system()).expect("a client")
}

fn request(address: SocketAddr, command: RuleCommand) -> RuleRequest {
    RuleRequest {
        base_url: format!("http://{address}").parse().expect("a URL"),
        bearer: Secret::new("bearer-of-test".to_owned()),
        command,
        response_bytes_max: 64,
    }
}

/// Makes a request to a server that sends these bytes and closes. Returns the answer and what the server received.
async fn answered(command: RuleCommand, bytes: &[u8]) -> (Result<RuleAnswer, RuleFailure>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let (client, request) = (client(), request(listener.local_addr().expect("an address"), command));
    let length = request.body().map_or(0, |body| body.len());
    tokio::join!(client.request(&request), async {
        let (mut socket, _) = listener.accept().await.expect("a connection");
        let mut received = Vec::new();
        while !received.ends_with(b"\r\n\r\n") {
            received.push(socket.read_u8().await.expect("a request"));
        }
        let mut body = vec![0; length];
        socket.read_exact(&mut body).await.expect("a body");
        received.extend(body);
        socket.write_all(bytes).await.expect("sent");
        String::from_utf8(received).expect("text")
    })
}

#[tokio::test]
async fn requests_have_method_and_body() {
    let ok =
        b"HTTP/1.1 201 Created\r\nx-rate-limit-remaining: 49\r\ncontent-length: 22\r\n\r\n{\"data\":{\"deleted\":1}}";
    let key = RuleKey { value: "cat".to_owned(), tag: None };
    for (command, method, body) in [
        (RuleCommand::List, "GET", ""),
        (
            RuleCommand::Add(vec![("cat".to_owned(), "t".to_owned())]),
            "POST",
            r#"{"rules":[{"tag":"t","value":"cat"}]}"#,
        ),
        (RuleCommand::Delete(vec![key]), "DELETE", r#"{"rules":[{"value":"cat"}]}"#),
    ] {
        let (answer, received) = answered(command, ok).await;
        let (head, sent) = received.split_once("\r\n\r\n").expect("a head");
        assert!(head.starts_with(&format!("{method} /2/powerstream/rules HTTP/1.1\r\n")), "{head}");
        assert!(head.contains("authorization: Bearer bearer-of-test"));
        assert_eq!((sent, head.contains("content-type: application/json")), (body, !body.is_empty()));
        let answer = answer.expect("answered");
        assert_eq!((answer.status, answer.headers.rate_limit.remaining), (201, Some(49)));
        assert_eq!(answer.document.expect("JSON").deleted, Some(1));
    }
}

#[tokio::test]
async fn long_and_broken_bodies_count_as_none() {
    for body in [format!("content-length: 66\r\n\r\n\"{}\"", "x".repeat(64)), "content-length: 9\r\n\r\n{}".to_owned()]
    {
        let (answer, _) = answered(RuleCommand::List, format!("HTTP/1.1 200 OK\r\n{body}").as_bytes()).await;
        let answer = answer.expect("answered");
        assert_eq!((answer.status, answer.document), (200, None), "{body}");
    }
}

/// A redirect would take the bearer to another origin.
#[tokio::test]
async fn redirect_is_answer() {
    let bytes = b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
    let (answer, _) = answered(RuleCommand::List, bytes).await;
    assert_eq!(answer.expect("answered").status, 302);
}

#[tokio::test]
async fn request_that_never_left_is_known() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let failure = client().request(&request(address, RuleCommand::List)).await.expect_err("nothing listens");
    assert!(matches!(failure, RuleFailure::NotSent(_)), "{failure}");
    let mut insecure = request(address, RuleCommand::List);
    insecure.base_url = "http://example.com".parse().expect("a URL");
    let failure = client().request(&insecure).await.expect_err("not loopback");
    assert!(matches!(failure, RuleFailure::NotSent(_)), "{failure}");
    let (cut, _) = answered(RuleCommand::List, b"").await;
    assert!(matches!(cut, Err(RuleFailure::Unanswered(_))), "{cut:?}");
}
