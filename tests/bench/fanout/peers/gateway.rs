//! The gateway as it is served: its own process, an upstream connection over HTTP, journal and tokens on, defaults.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use powerstream_gateway::proto::subscribe_request::Start;
use powerstream_gateway::proto::{Earliest, SubscribeRequest, TagFilter};
use prost::Message;
use tokio_rustls::rustls::ClientConfig;

use super::own::{SUBSCRIBE, wire};
use super::{Peer, Running, Subscribe, send_all, upstream, written};
use crate::load::Reader;
use crate::process::{Process, free_port};
use crate::wire::Fault;
use crate::wire::grpc::Codec;
use crate::wire::http2::{Call, call};
use crate::wire::tls::{Tls, config};
use crate::world::World;

/// Longer than any message of the defaults.
const LONG_FRAME_BYTES: u32 = 128 << 10;

/// This gateway.
#[derive(Default)]
pub struct Gateway {
    pub codec: Option<Codec>,
    /// Whether its clients take frames in which a whole message has room, not only the shortest that all must take.
    pub long_frames: bool,
    /// Whether its clients speak TLS.
    pub tls: bool,
    /// Whether subscribers begin at the oldest record.
    pub earliest: bool,
    /// What its subscribers ask for.
    pub filters: Filters,
    /// When an append is complete, if not by the default.
    pub durability: Option<&'static str>,
    /// Another program in place of this build's.
    pub program: Option<PathBuf>,
    /// A variable of its environment: a setting.
    pub variable: Option<(String, String)>,
}

/// What the subscribers ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Filters {
    /// Everything, all by the same empty filter.
    #[default]
    Equal,
    /// Everything, each by a filter of its own.
    Distinct,
    /// The first everything, each of the others a tag of its own that no post has.
    Narrow,
}

impl Filters {
    fn of(self, nth: usize) -> Option<TagFilter> {
        let any_of = match self {
            Self::Equal => return None,
            Self::Narrow if nth > 0 => vec![format!("narrow-{nth}")],
            Self::Distinct | Self::Narrow => vec!["customer-*".to_owned(), format!("narrow-{nth}")],
        };
        Some(TagFilter { any_of, ..TagFilter::default() })
    }
}

/// A gateway that runs, and where its clients find it.
pub struct Served {
    pub running: Running,
    pub address: String,
}

impl Gateway {
    /// Starts it; its upstream is connected when this returns.
    pub fn serve(&self, world: &World) -> Result<Served, Fault> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| error.to_string())?;
        let url = listener.local_addr().map_err(|error| error.to_string())?;
        let (port, admin) = (free_port()?, free_port()?);
        let dir = world.directory("gateway");
        written(&dir.join("bearer"), "bench")?;
        let settings = dir.join("gateway.yaml");
        let path = dir.display();
        let client = if self.tls { Some(certificate(&dir)?) } else { None };
        let tls = client.as_ref().map(|_| format!(", tls: {{ cert_file: {path}/cert.pem, key_file: {path}/key.pem }}"));
        let tls = tls.unwrap_or_default();
        let durability =
            self.durability.map_or_else(String::new, |word| format!("journal: {{ durability: {word} }}\n"));
        // The player has no backfill to give; all else is as it comes.
        written(
            &settings,
            &format!(
                "data_dir: {path}/data\ngrpc: {{ address: '127.0.0.1:{port}'{tls} }}\n\
                 admin: {{ address: '127.0.0.1:{admin}' }}\ntelemetry: {{ log_filter: warn }}\n\
                 ingest: {{ gaps: {{ initial_backfill_minutes: 0 }} }}\n{durability}\
                 accounts: [{{ name: main, bearer: {{ file: {path}/bearer }}, url: 'http://{url}' }}]\n"
            ),
        )?;
        let own = Path::new(env!("CARGO_BIN_EXE_powerstream-gateway"));
        let mut command = Command::new(self.program.as_deref().unwrap_or(own));
        command.args(["serve", "--config"]).arg(&settings).stderr(Stdio::inherit());
        command.envs(self.variable.clone());
        let mut process = Process::server(world, &mut command)?;
        let feed = upstream::accept(&listener, &mut process)?;
        process.connect(port)?;
        let running = Running {
            process,
            feed: Some(feed),
            subscribe: self.subscribe(port, client),
            counted: Some(Box::new(move || counted(admin))),
            admin: Some(admin),
        };
        Ok(Served { running, address: format!("127.0.0.1:{port}") })
    }

    fn subscribe(&self, port: u16, tls: Option<Arc<ClientConfig>>) -> Subscribe {
        let (codec, earliest, long_frames, filters) = (self.codec, self.earliest, self.long_frames, self.filters);
        Box::new(move |process, nth| {
            let start = earliest.then_some(Start::Earliest(Earliest {}));
            let filter = filters.of(nth);
            let request = SubscribeRequest { start, filter, ..SubscribeRequest::default() }.encode_to_vec();
            let socket = process.connect(port)?;
            let call = call(Call {
                authority: &format!("127.0.0.1:{port}"),
                path: SUBSCRIBE,
                encoding: codec.map(Codec::name),
                frame_bytes_max: long_frames.then_some(LONG_FRAME_BYTES),
                message: &request,
            });
            if let Some(tls) = tls.clone() {
                let session = Tls::connect(&socket, tls, &call, wire(codec, nth))?;
                return Ok(Reader::new(socket, session));
            }
            send_all(&socket, &call)?;
            Ok(Reader::new(socket, wire(codec, nth)))
        })
    }
}

impl Peer for Gateway {
    fn name(&self) -> String {
        if self.tls {
            return "this gateway, TLS".into();
        }
        if self.filters == Filters::Distinct {
            return "this gateway, N filters".into();
        }
        if self.long_frames { "this gateway, frames of 128 KiB".into() } else { "this gateway".into() }
    }

    fn terms(&self) -> String {
        if self.tls {
            return "the same, with TLS 1.3 and a certificate of ECDSA P-256".into();
        }
        if self.long_frames {
            return "the same, to clients whose SETTINGS_MAX_FRAME_SIZE is 128 KiB instead of 16".into();
        }
        if self.filters == Filters::Distinct {
            return "the same, each subscriber with a filter of its own that matches everything".into();
        }
        let version = env!("CARGO_PKG_VERSION");
        format!("{version}, defaults: journal in files, written before it is shown, fdatasync each second; tokens")
    }

    fn start(&self, world: &World) -> Result<Running, Fault> {
        self.serve(world).map(|served| served.running)
    }
}

/// Writes a certificate for the server and its key. Returns the configuration of its clients.
fn certificate(dir: &Path) -> Result<Arc<ClientConfig>, Fault> {
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).map_err(|error| error.to_string())?;
    written(&dir.join("cert.pem"), &pair.cert.pem())?;
    written(&dir.join("key.pem"), &pair.signing_key.serialize_pem())?;
    config(pair.cert.der().clone())
}

/// The metrics, by the admin port.
pub fn scrape(port: u16) -> Result<String, Fault> {
    let io = |error: std::io::Error| format!("the admin port: {error}");
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map_err(io)?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n").map_err(io)?;
    let mut text = String::new();
    stream.read_to_string(&mut text).map_err(io)?;
    Ok(text)
}

/// Posts in the log.
fn counted(port: u16) -> Result<u64, Fault> {
    let text = scrape(port)?;
    let line = text.lines().find(|line| line.starts_with("powerstream_gateway_posts_appended_total{"));
    let value = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
    value.ok_or_else(|| "no count of posts among the metrics".into())
}
