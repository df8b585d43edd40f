//! The servers of this program: plain TCP, and tokio broadcast with stock tonic.

use std::io::Read;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Command;

use powerstream_gateway::proto::SubscribeRequest;
use prost::Message;

use super::{Peer, Running, Subscribe, locked, send_all, upstream};
use crate::load::{Feed, Frames, Reader};
use crate::process::{Process, free_port};
use crate::wire::Fault;
use crate::wire::grpc::{Codec, Grpc};
use crate::wire::http2::{Call, call};
use crate::wire::plain::Plain as PlainWire;
use crate::world::World;

/// The method that both gRPC servers have.
pub const SUBSCRIBE: &str = "/powerstream.gateway.v1.StreamService/Subscribe";

/// Plain TCP.
pub struct Plain;

impl Peer for Plain {
    fn name(&self) -> String {
        "plain TCP writev".into()
    }

    fn terms(&self) -> String {
        "one thread, epoll, writev of up to 64 KB; nothing is kept".into()
    }

    fn start(&self, world: &World) -> Result<Running, Fault> {
        let port = free_port()?;
        let subscribe: Subscribe =
            Box::new(move |process, _| Ok(Reader::new(process.connect(port)?, PlainWire::default())));
        start(world, &["plain"], port, &[], subscribe)
    }
}

/// Tokio broadcast with stock tonic.
#[derive(Default)]
pub struct Stock {
    pub codec: Option<Codec>,
}

impl Peer for Stock {
    fn name(&self) -> String {
        "tokio broadcast + stock tonic".into()
    }

    fn terms(&self) -> String {
        format!("tokio {}, tonic {}, mimalloc; nothing is kept", locked("tokio"), locked("tonic"))
    }

    fn start(&self, world: &World) -> Result<Running, Fault> {
        let (port, codec) = (free_port()?, self.codec);
        start(world, &["stock"], port, &[codec.map_or("none", Codec::name)], subscribe(port, codec))
    }
}

/// The same, behind the stream itself.
pub struct Direct;

impl Peer for Direct {
    fn name(&self) -> String {
        "reqwest + tokio broadcast + stock tonic".into()
    }

    fn terms(&self) -> String {
        format!("the same behind the gateway's upstream, by reqwest {}; nothing is kept", locked("reqwest"))
    }

    fn start(&self, world: &World) -> Result<Running, Fault> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| error.to_string())?;
        let url = listener.local_addr().map_err(|error| error.to_string())?;
        let (port, counted) = (free_port()?, free_port()?);
        let mut command = program()?;
        command.args(["direct", &format!("http://{url}/"), &counted.to_string(), &port.to_string()]);
        let mut process = Process::server(world, &mut command)?;
        let feed = Some(upstream::accept(&listener, &mut process)?);
        let counted = move || {
            let mut count = [0; 8];
            let asked = TcpStream::connect((Ipv4Addr::LOCALHOST, counted)).and_then(|mut it| it.read_exact(&mut count));
            asked.map(|()| u64::from_be_bytes(count)).map_err(|error| format!("the count: {error}"))
        };
        Ok(Running { process, feed, subscribe: subscribe(port, None), counted: Some(Box::new(counted)), admin: None })
    }
}

fn subscribe(port: u16, codec: Option<Codec>) -> Subscribe {
    Box::new(move |process, nth| {
        let socket = process.connect(port)?;
        let request = SubscribeRequest::default().encode_to_vec();
        let (authority, encoding) = (format!("127.0.0.1:{port}"), codec.map(Codec::name));
        let (authority, message) = (&*authority, &*request);
        send_all(&socket, &call(Call { authority, path: SUBSCRIBE, encoding, message, ..Call::default() }))?;
        Ok(Reader::new(socket, wire(codec, nth)))
    })
}

/// Of compressed streams the first is decoded as it comes: it sets the pace.
pub fn wire(codec: Option<Codec>, nth: usize) -> Grpc {
    codec.map_or_else(Grpc::default, |codec| Grpc::compressed(codec, nth == 0))
}

/// This program, as a server.
fn program() -> Result<Command, Fault> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(program);
    command.arg("server");
    Ok(command)
}

fn start(world: &World, kind: &[&str], port: u16, last: &[&str], subscribe: Subscribe) -> Result<Running, Fault> {
    let feed = free_port()?;
    let mut command = program()?;
    command.args(kind).args([feed.to_string(), port.to_string()]).args(last);
    let mut process = Process::server(world, &mut command)?;
    let socket = process.connect(feed)?;
    let feed = Feed { socket: socket.into(), frames: Box::new(Lengths::default()) };
    Ok(Running { process, feed: Some(feed), subscribe, counted: None, admin: None })
}

/// Posts behind their length; a length of 0 asks how many came.
#[derive(Default)]
struct Lengths {
    answer: Vec<u8>,
}

impl Frames for Lengths {
    fn frame(&mut self, post: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(&(post.len() as u32).to_be_bytes());
        out.extend_from_slice(post);
    }

    fn take(&mut self, bytes: &[u8], _reply: &mut Vec<u8>) -> Result<(), Fault> {
        self.answer.extend_from_slice(bytes);
        Ok(())
    }

    fn ask(&mut self, out: &mut Vec<u8>) -> bool {
        self.answer.clear();
        out.extend_from_slice(&[0; 4]);
        true
    }

    fn taken(&self, posts: u64) -> bool {
        self.answer[..] == posts.to_be_bytes()
    }
}
