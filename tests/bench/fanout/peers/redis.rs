//! Redis: publish/subscribe, and streams.

use std::process::{Command, Stdio};

use super::{Peer, Running, Subscribe, absent, program, send_all, version, written};
use crate::load::{Feed, Frames, Reader};
use crate::process::{Process, free_port};
use crate::wire::Fault;
use crate::wire::resp::{FIELD, KEY, Parser, PubSub, Stream, Token, command};
use crate::world::World;

const PROGRAM: &str = "redis-server";
const CHANNEL: &[u8] = b"c";

/// Redis publish/subscribe.
pub struct RedisPubSub;

impl Peer for RedisPubSub {
    fn name(&self) -> String {
        "Redis pub/sub".into()
    }

    fn terms(&self) -> String {
        format!("{}; nothing is kept", short())
    }

    fn missing(&self) -> Option<String> {
        absent(PROGRAM)
    }

    fn start(&self, world: &World) -> Result<Running, Fault> {
        let (process, feed, port) = server(world, "appendonly no\n", &[b"PUBLISH", CHANNEL])?;
        let subscribe: Subscribe = Box::new(move |process, _| {
            let socket = process.connect(port)?;
            let mut words = Vec::new();
            command(&mut words, &[b"SUBSCRIBE", CHANNEL]);
            send_all(&socket, &words)?;
            Ok(Reader::new(socket, PubSub::default()))
        });
        Ok(Running { process, feed: Some(feed), subscribe, counted: None, admin: None })
    }
}

/// Redis streams.
pub struct RedisStreams;

impl Peer for RedisStreams {
    fn name(&self) -> String {
        "Redis Streams".into()
    }

    fn terms(&self) -> String {
        format!("{}; appendonly yes, appendfsync everysec; XREAD BLOCK COUNT 100", short())
    }

    fn missing(&self) -> Option<String> {
        absent(PROGRAM)
    }

    fn start(&self, world: &World) -> Result<Running, Fault> {
        let log = "appendonly yes\nappendfsync everysec\nauto-aof-rewrite-percentage 0\n";
        let (process, feed, port) = server(world, log, &[b"XADD", KEY, b"*", FIELD])?;
        let subscribe: Subscribe = Box::new(move |process, _| {
            let socket = process.connect(port)?;
            let mut words = Vec::new();
            Stream::ask(b"0-0", &mut words);
            send_all(&socket, &words)?;
            Ok(Reader::new(socket, Stream::new()))
        });
        Ok(Running { process, feed: Some(feed), subscribe, counted: None, admin: None })
    }
}

/// `Redis server v=7.0.15 sha=…` without what follows the version.
fn short() -> String {
    version(PROGRAM).split(' ').take(3).collect::<Vec<_>>().join(" ")
}

fn server(world: &World, more: &str, words: &[&[u8]]) -> Result<(Process, Feed, u16), Fault> {
    let port = free_port()?;
    let dir = world.directory("redis");
    let config = dir.join("redis.conf");
    written(
        &config,
        &format!(
            "bind 127.0.0.1\nport {port}\ndir '{}'\nsave ''\nmaxclients 4000\n\
             client-output-buffer-limit pubsub 0 0 0\n{more}",
            dir.display()
        ),
    )?;
    let mut program = Command::new(program(PROGRAM).ok_or("redis-server is not installed")?);
    let mut process = Process::server(world, program.arg(&config).stderr(Stdio::null()))?;
    let socket = process.connect(port)?;
    let words = words.iter().map(|word| word.to_vec()).collect();
    let frames = Commands { words, parser: Parser::default(), answered: 0 };
    Ok((process, Feed { socket: socket.into(), frames: Box::new(frames) }, port))
}

/// Commands that end with the post, each of them answered.
struct Commands {
    words: Vec<Vec<u8>>,
    parser: Parser,
    answered: u64,
}

impl Frames for Commands {
    fn frame(&mut self, post: &[u8], out: &mut Vec<u8>) {
        let mut parts: Vec<&[u8]> = self.words.iter().map(Vec::as_slice).collect();
        parts.push(post);
        command(out, &parts);
    }

    fn take(&mut self, bytes: &[u8], _reply: &mut Vec<u8>) -> Result<(), Fault> {
        let answered = &mut self.answered;
        self.parser.take(bytes, |token| {
            // The number of receivers, or the id of the entry.
            *answered += u64::from(matches!(token, Token::Number | Token::Bulk(..)));
            Ok(())
        })
    }

    fn acknowledged(&self) -> Option<u64> {
        Some(self.answered)
    }
}
