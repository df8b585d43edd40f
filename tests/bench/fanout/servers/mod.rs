//! The servers that are modes of this program: each a process of its own, so that its processor time is counted like
//! that of the others.
//!
//! Posts come on one connection, each behind its length; a length of 0 asks how many came, and is answered with a `u64`.
//! Only `direct` takes them from the stream itself.

pub mod direct;
pub mod floor;
pub mod plain;
pub mod stock;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use crate::wire::Fault;
use crate::wire::grpc::Codec;

/// Runs the server that the arguments behind `server` name.
pub fn run(arguments: &[String]) -> Result<(), Fault> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["plain", feed, subscribers] => plain::serve(port(feed)?, port(subscribers)?),
        ["stock", feed, subscribers, codec] => {
            let codec = [Codec::Gzip, Codec::Zstd].into_iter().find(|it| it.name() == codec);
            stock::serve(port(feed)?, port(subscribers)?, codec)
        }
        ["direct", url, counted, subscribers] => direct::serve(url, port(counted)?, port(subscribers)?),
        ["floor", subscribers, count, posts, per_second, burst] => {
            let pace = (number(per_second)?, u32::try_from(number(burst)?).map_err(text)?);
            floor::serve(port(subscribers)?, number(count)?, number(posts)?, pace)
        }
        _ => Err(format!("no such server: {words:?}")),
    }
}

fn number(word: &str) -> Result<u64, Fault> {
    word.parse().map_err(|_| format!("{word} is no number"))
}

fn port(word: &str) -> Result<u16, Fault> {
    word.parse().map_err(|_| format!("{word} is no port"))
}

fn listen(port: u16) -> Result<TcpListener, Fault> {
    TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).map_err(text)
}

fn text(error: impl std::fmt::Display) -> Fault {
    error.to_string()
}
