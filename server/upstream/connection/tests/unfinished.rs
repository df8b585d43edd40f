//! Messages that a connection leaves unfinished or cannot read.

use super::*;

/// A post after an unfinished one is delivered when the stream ends or goes stale (rule 2.7).
#[tokio::test(start_paused = true)]
async fn post_behind_unfinished_one_survives_end() {
    for stale in [false, true] {
        let (mut connection, sender) = connected(&virtual_clock()).await;
        send(&sender, "{\"id\":1,\"user\":\r\n{\"id\":2}\r\n");
        let _open = stale.then_some(sender);
        let mut ids = Vec::new();
        let end = loop {
            match connection.next().await {
                ConnectionEvent::End(end) => break end,
                ConnectionEvent::Arrivals(arrivals) => {
                    ids.extend(arrivals.messages.into_iter().map(|message| match message {
                        UpstreamMessage::Post(post) => post.id.0,
                        UpstreamMessage::Malformed { .. } => 0,
                        other => panic!("{other:?}"),
                    }))
                }
            }
        };
        let cause = if stale { DisconnectCause::Stale } else { DisconnectCause::CleanEof };
        assert_eq!((ids, end.cause, end.partial_bytes), (vec![0, 2], cause, 0));
    }
}

/// The first message of each foreign kind is marked, once per connection.
#[tokio::test]
async fn first_foreign_message_of_kind_is_marked() {
    for _ in 0..2 {
        let (mut connection, sender) = connected(&Clock::system()).await;
        let (activity, delete) = (r#"{"id":"tag:search.example.com,2005:1"}"#, r#"{"delete":{"status":{"id":1}}}"#);
        send(&sender, &format!("{activity}\r\n{delete}\r\n{activity}\r\n{delete}\r\n"));
        drop(sender);
        let mut marks = Vec::new();
        while let ConnectionEvent::Arrivals(arrivals) = connection.next().await {
            marks.extend(arrivals.messages.iter().map(|message| match message {
                UpstreamMessage::Foreign { first, .. } => *first,
                other => panic!("{other:?}"),
            }));
        }
        assert_eq!(marks, [true, true, false, false]);
    }
}

/// A bound of zero bytes is treated as one byte: a batch has at least one message (R2-C).
#[tokio::test]
async fn batch_of_zero_bytes_hands_on_messages() {
    let (sender, receiver) = mpsc::channel(PIECES_MAX);
    let response = Response { status: 200, headers: Headers::default(), body: body(receiver) };
    let transport = Scripted(parking_lot::Mutex::new(Some(Ok(response))));
    let config = Config { batch_bytes_max: 0, ..Config::default() };
    let connection = connect(&transport, &request(), &config, &Clock::system(), &Metrics::default()).await;
    let mut connection = connection.unwrap_or_else(|cause| panic!("{cause}"));
    send(&sender, "{\"id\":1}\r\n{\"id\":2}\r\n");
    drop(sender);
    let mut messages = 0;
    while let ConnectionEvent::Arrivals(arrivals) = connection.next().await {
        messages += arrivals.messages.len();
    }
    assert_eq!(messages, 2);
}
