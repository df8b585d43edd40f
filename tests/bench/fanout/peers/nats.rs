//! NATS: core, and JetStream with file storage.

use std::io::Read;
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::{Peer, Running, Subscribe, absent, program, send_all, version, written};
use crate::load::{Feed, Frames, Reader};
use crate::process::{Process, free_port};
use crate::wire::Fault;
use crate::wire::nats::{ANSWERS, CONNECT, MESSAGES, Nats, NatsMessage, Parser, granted};
use crate::world::World;

const PROGRAM: &str = "nats-server";
/// Room for two windows of every subscriber: the default, written down.
const PENDING_BYTES_MAX: usize = 64 << 20;
/// How long JetStream may take to make a stream.
const ANSWER: Duration = Duration::from_secs(10);

/// NATS core.
pub struct NatsCore;

impl Peer for NatsCore {
    fn name(&self) -> String {
        "NATS core".into()
    }

    fn terms(&self) -> String {
        format!("{}; nothing is kept", version(PROGRAM))
    }

    fn missing(&self) -> Option<String> {
        absent(PROGRAM)
    }

    fn start(&self, world: &World) -> Result<Running, Fault> {
        let (mut process, port) = server(world, "")?;
        let socket = process.connect(port)?;
        send_all(&socket, CONNECT.as_bytes())?;
        let feed = Feed { socket: socket.into(), frames: Box::new(Publish::default()) };
        let subscribe: Subscribe = Box::new(move |process, _| {
            let socket = process.connect(port)?;
            let subscribe = format!("SUB b {MESSAGES}\r\n");
            // The ping is answered when the subscription stands.
            let connect = CONNECT.replace("PING\r\n", "");
            send_all(&socket, format!("{connect}{subscribe}PING\r\n").as_bytes())?;
            Ok(Reader::new(socket, Nats::new(false)))
        });
        Ok(Running { process, feed: Some(feed), subscribe, counted: None, admin: None })
    }
}

/// NATS JetStream.
pub struct Jetstream;

impl Peer for Jetstream {
    fn name(&self) -> String {
        "NATS JetStream, file storage".into()
    }

    fn terms(&self) -> String {
        let version = version(PROGRAM);
        format!(
            "{version}; file storage, sync_interval 2m (default); each publish acknowledged; an ordered push consumer each"
        )
    }

    fn missing(&self) -> Option<String> {
        absent(PROGRAM)
    }

    fn start(&self, world: &World) -> Result<Running, Fault> {
        let store = world.directory("jetstream");
        let (mut process, port) = server(world, &format!("jetstream {{ store_dir: '{}' }}\n", store.display()))?;
        let socket = process.connect(port)?;
        send_all(&socket, CONNECT.as_bytes())?;
        make_stream(&socket)?;
        send_all(&socket, format!("SUB acks {MESSAGES}\r\n").as_bytes())?;
        let feed = Feed { socket: socket.into(), frames: Box::new(Stored::default()) };
        let subscribe: Subscribe = Box::new(move |process, nth| {
            let socket = process.connect(port)?;
            // What client libraries ask for as an ordered consumer, without flow control.
            let config = format!(
                r#"{{"stream_name":"B","config":{{"deliver_subject":"d.{nth}","deliver_policy":"new","ack_policy":"none","max_deliver":1,"mem_storage":true,"num_replicas":1,"replay_policy":"instant"}}}}"#
            );
            let words = format!(
                "{CONNECT}SUB d.{nth} {MESSAGES}\r\nSUB r.{nth} {ANSWERS}\r\n\
                 PUB $JS.API.CONSUMER.CREATE.B r.{nth} {}\r\n{config}\r\n",
                config.len()
            );
            send_all(&socket, words.as_bytes())?;
            Ok(Reader::new(socket, Nats::new(true)))
        });
        Ok(Running { process, feed: Some(feed), subscribe, counted: None, admin: None })
    }
}

fn server(world: &World, more: &str) -> Result<(Process, u16), Fault> {
    let port = free_port()?;
    let config = world.directory("nats").join("nats.conf");
    written(
        &config,
        &format!("listen: '127.0.0.1:{port}'\nmax_pending: {PENDING_BYTES_MAX}\nwrite_deadline: '60s'\n{more}"),
    )?;
    let mut command = Command::new(program(PROGRAM).ok_or("nats-server is not installed")?);
    command.arg("-c").arg(&config).stderr(Stdio::null());
    Ok((Process::server(world, &mut command)?, port))
}

/// Makes the stream and waits for the answer.
fn make_stream(mut socket: &TcpStream) -> Result<(), Fault> {
    let config = r#"{"name":"B","subjects":["b"],"storage":"file","retention":"limits","num_replicas":1}"#;
    let ask = format!("SUB made {ANSWERS}\r\nPUB $JS.API.STREAM.CREATE.B made {}\r\n{config}\r\n", config.len());
    send_all(socket, ask.as_bytes())?;
    socket.set_read_timeout(Some(ANSWER)).map_err(|error| error.to_string())?;
    let (mut parser, mut made, mut buffer) = (Parser::default(), false, [0; 4_096]);
    while !made {
        let count = socket.read(&mut buffer).map_err(|error| format!("JetStream makes no stream: {error}"))?;
        if count == 0 {
            return Err("NATS closed the connection".into());
        }
        parser.take(&buffer[..count], |message| {
            if let NatsMessage::Message { payload, .. } = message {
                granted(payload)?;
                made = true;
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// Publishes without acknowledgment; a ping asks whether all are taken.
#[derive(Default)]
struct Publish {
    parser: Parser,
    /// Pings sent and answered: the first comes with the connect.
    pongs: u64,
    asked: bool,
}

impl Frames for Publish {
    fn frame(&mut self, post: &[u8], out: &mut Vec<u8>) {
        publish("b", post, out);
    }

    fn take(&mut self, bytes: &[u8], reply: &mut Vec<u8>) -> Result<(), Fault> {
        let pongs = &mut self.pongs;
        self.parser.take(bytes, |message| {
            match message {
                NatsMessage::Ping => reply.extend_from_slice(b"PONG\r\n"),
                NatsMessage::Pong => *pongs += 1,
                NatsMessage::Message { .. } => {}
            }
            Ok(())
        })
    }

    fn ask(&mut self, out: &mut Vec<u8>) -> bool {
        out.extend_from_slice(b"PING\r\n");
        // The answer to the connect's ping may be behind us or not; posts were written since, so it is.
        self.pongs = 0;
        self.asked = true;
        true
    }

    fn taken(&self, _posts: u64) -> bool {
        self.asked && self.pongs > 0
    }
}

/// Publishes that JetStream acknowledges one by one.
#[derive(Default)]
struct Stored {
    parser: Parser,
    acknowledged: u64,
}

impl Frames for Stored {
    fn frame(&mut self, post: &[u8], out: &mut Vec<u8>) {
        publish("b acks", post, out);
    }

    fn take(&mut self, bytes: &[u8], reply: &mut Vec<u8>) -> Result<(), Fault> {
        let acknowledged = &mut self.acknowledged;
        self.parser.take(bytes, |message| {
            match message {
                NatsMessage::Ping => reply.extend_from_slice(b"PONG\r\n"),
                NatsMessage::Pong => {}
                NatsMessage::Message { payload, .. } => {
                    granted(payload)?;
                    *acknowledged += 1;
                }
            }
            Ok(())
        })
    }

    fn acknowledged(&self) -> Option<u64> {
        Some(self.acknowledged)
    }
}

fn publish(subject: &str, post: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("PUB {subject} {}\r\n", post.len()).as_bytes());
    out.extend_from_slice(post);
    out.extend_from_slice(b"\r\n");
}
