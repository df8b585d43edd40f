//! A client that counts what it gets and keeps nothing.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use powerstream_gateway::proto::SubscribeRequest;
use powerstream_gateway::proto::subscribe_request::Start;
use prost::Message;

use crate::wire::Wire;
use crate::wire::grpc::Grpc;
use crate::wire::http2::{Call, call};

const METHOD: &str = "/powerstream.gateway.v1.StreamService/Subscribe";
const READ_BYTES: usize = 256 << 10;

/// Subscribes from this token on, and reads until at least so many posts have arrived. Returns how many.
pub fn receive(address: SocketAddr, token: &str, posts: u64) -> u64 {
    let request = SubscribeRequest { start: Some(Start::ResumeToken(token.into())), ..SubscribeRequest::default() };
    let mut socket = TcpStream::connect(address).expect("the gateway listens");
    let (authority, message) = (&*address.to_string(), &*request.encode_to_vec());
    let call = call(Call { authority, path: METHOD, message, ..Call::default() });
    socket.write_all(&call).expect("it takes requests");
    let (mut wire, mut reply, mut bytes, mut received) = (Grpc::default(), Vec::new(), vec![0; READ_BYTES], 0);
    while received < posts {
        let count = socket.read(&mut bytes).expect("the stream continues");
        assert!(count > 0, "the stream ended");
        received += wire.take(&bytes[..count], &mut reply).expect("a stream of posts");
        socket.write_all(&reply).expect("it listens");
        reply.clear();
    }
    received
}
