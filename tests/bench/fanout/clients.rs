//! Real clients: tonic's in this program, and those of `tests/bench/clients`, each a process that prints `ready`, then
//! how many events its slowest subscriber has, and checks what it gets.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

use powerstream_gateway::proto::SubscribeRequest;
use powerstream_gateway::proto::stream_service_client::StreamServiceClient;
use powerstream_gateway::proto::subscribe_response::Frame;
use tokio::sync::mpsc;

use crate::wire::Fault;
use crate::world::cache;

const QUEUE_MAX: usize = 64;

/// A client program.
pub struct Client {
    pub name: &'static str,
    /// Posts that are measured, and before them.
    pub events: u64,
    pub warm: u64,
    kind: Kind,
}

enum Kind {
    Tonic,
    Go,
    Python,
}

/// All of them.
pub fn all() -> [Client; 3] {
    [
        Client { name: "tonic", events: 20_000, warm: 2_000, kind: Kind::Tonic },
        Client { name: "grpc-go", events: 20_000, warm: 2_000, kind: Kind::Go },
        Client { name: "Python grpcio", events: 4_000, warm: 500, kind: Kind::Python },
    ]
}

impl Client {
    /// How it is started; address, number of subscribers and of events follow.
    pub fn command(&self) -> Result<Command, Fault> {
        let fetched = |path: &str| {
            let file = cache().join(path);
            if file.exists() { Ok(file) } else { Err("not built: run tests/bench/peers.sh".to_owned()) }
        };
        match self.kind {
            Kind::Tonic => {
                let mut command = Command::new(std::env::current_exe().map_err(|error| error.to_string())?);
                command.arg("client");
                Ok(command)
            }
            Kind::Go => fetched("bin/fanout-client-go").map(Command::new),
            Kind::Python => {
                let mut command = Command::new(fetched("venv/bin/python")?);
                let root = Path::new(env!("CARGO_MANIFEST_DIR"));
                command.arg(root.join("tests/bench/clients/python/client.py"));
                command.env("PYTHONPATH", fetched("python")?);
                Ok(command)
            }
        }
    }
}

/// The client of tonic, as a process: address, number of subscribers, number of events.
pub fn run(arguments: &[String]) -> Result<(), Fault> {
    let [address, subscribers, events] = arguments else { return Err("client ADDRESS SUBSCRIBERS EVENTS".into()) };
    let number = |word: &String| word.parse::<u64>().map_err(|_| format!("{word} is no number"));
    let (subscribers, events) = (number(subscribers)?, number(events)?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(text)?;
    runtime.block_on(async {
        let (sender, mut reports) = mpsc::channel(QUEUE_MAX);
        for nth in 0..subscribers {
            tokio::spawn(subscribe(format!("http://{address}"), nth, events, sender.clone()));
        }
        drop(sender);
        let (mut counts, mut slowest) = (HashMap::new(), None);
        while let Some(count) = reports.recv().await {
            let (nth, count) = count?;
            counts.insert(nth, count);
            let least = counts.values().min().copied().filter(|_| counts.len() as u64 == subscribers);
            if least != slowest {
                slowest = least;
                print_count(least.unwrap_or_default());
            }
        }
        if slowest == Some(events) { Ok(()) } else { Err(format!("ended at {slowest:?} of {events}")) }
    })
}

type CountSender = mpsc::Sender<Result<(u64, u64), Fault>>;

async fn subscribe(url: String, nth: u64, events: u64, sender: CountSender) {
    if let Err(fault) = read(url, nth, events, &sender).await {
        sender.send(Err(fault)).await.ok();
    }
}

async fn read(url: String, nth: u64, events: u64, sender: &CountSender) -> Result<(), Fault> {
    let mut client = StreamServiceClient::connect(url).await.map_err(text)?;
    let mut frames = client.subscribe(SubscribeRequest::default()).await.map_err(text)?.into_inner();
    let (mut count, mut sequence) = (0, 0);
    while count < events {
        match frames.message().await.map_err(text)?.and_then(|response| response.frame) {
            Some(Frame::CaughtUp(_)) => sender.send(Ok((nth, 0))).await.map_err(text)?,
            Some(Frame::EventBatch(batch)) => {
                for event in &batch.events {
                    if event.sequence <= sequence {
                        return Err(format!("sequence {} after {sequence}", event.sequence));
                    }
                    sequence = event.sequence;
                    count += 1;
                }
                if batch.delivered_total != count {
                    return Err(format!("delivered_total is {}, got {count}", batch.delivered_total));
                }
                sender.send(Ok((nth, count))).await.map_err(text)?;
            }
            Some(_) => {}
            None => return Err("the stream ended".into()),
        }
    }
    Ok(())
}

fn print_count(count: u64) {
    match count {
        0 => println!("ready"),
        count => println!("{count}"),
    }
}

fn text(error: impl std::fmt::Display) -> Fault {
    error.to_string()
}
