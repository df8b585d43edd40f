//! A cluster of three NATS servers on loopback, each a process.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Stdio;

use anyhow::Context;

use super::child_process::ChildProcess;
use crate::cli::demo::stage::DemoStage;

const NODES: usize = 3;
/// What to do if the server does not start.
const MISSING: &str = "--replicas needs nats-server 2.12 or later, in PATH or named by --nats-server; \
                       for example: go install github.com/nats-io/nats-server/v2@latest";

/// The servers; killed when dropped.
pub(super) struct NatsNodes {
    pub(super) addresses: Vec<SocketAddr>,
    _processes: Vec<ChildProcess>,
}

impl NatsNodes {
    /// Starts them with volumes in `dir`, and waits until they listen.
    pub(super) async fn start(stage: &DemoStage, program: &Path, dir: &Path) -> anyhow::Result<Self> {
        // All are bound at once, so that they differ.
        let bound: Vec<_> = (0..2 * NODES).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
        let ports: Vec<_> = bound.iter().map(TcpListener::local_addr).collect::<Result<_, _>>()?;
        drop(bound);
        let (addresses, routes) = ports.split_at(NODES);
        let urls: Vec<_> = routes.iter().map(|route| format!("\"nats-route://{route}\"")).collect();
        let mut processes = Vec::new();
        for (n, (address, route)) in addresses.iter().zip(routes).enumerate() {
            let store = dir.join(format!("nats-{n}"));
            let config = dir.join(format!("nats-{n}.conf"));
            let text = format!(
                "server_name: nats-{n}\nlisten: \"{address}\"\nmax_payload: 8MB\n\
                 jetstream {{ store_dir: \"{}\", max_file_store: 1GB }}\n\
                 cluster {{ name: demo, listen: \"{route}\", routes: [{}] }}\n",
                store.display(),
                urls.join(", ")
            );
            std::fs::write(&config, text).with_context(|| format!("cannot write {}", config.display()))?;
            let mut command = std::process::Command::new(program);
            command.arg("-c").arg(&config).stdout(Stdio::null());
            let process = ChildProcess::spawn(command, dir.join(format!("nats-{n}.log")));
            processes.push(process.context(MISSING)?);
        }
        let mut ended = Ok(());
        let listens = async || {
            ended = processes.iter_mut().try_for_each(|process| process.log().map(drop));
            ended.is_err() || addresses.iter().all(|address| std::net::TcpStream::connect(address).is_ok())
        };
        stage.wait_until("the NATS servers listen", listens).await?;
        ended?;
        Ok(Self { addresses: addresses.to_vec(), _processes: processes })
    }
}
