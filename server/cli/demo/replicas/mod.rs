//! `demo --replicas N`: N gateways as processes over three NATS servers. The one that reads X is killed: another one takes over,
//! and the consumer of the killed one continues there with its token.
//!
//! Owns: the sequence of steps, the processes and their files. Does not own: the components, which are those of `serve`.
//!
//! Invariants: no process outlives the demo, unless that is killed.

mod child_process;
mod nats_nodes;
mod replica_process;

use std::path::Path;
use std::time::Duration;

use anyhow::Context;

use self::nats_nodes::NatsNodes;
use self::replica_process::ReplicaProcess;
use super::stage::{DemoConsumer, DemoStage, TAGS, has_all, have_begun};
use crate::cli::exit::Exit;
use crate::cli::terminal::print_status;
use crate::config::Settings;
use crate::proto::ReplicaRole;
use crate::rules::AccountConfig;
use crate::state_file;

/// The replicas, and what they share.
struct ReplicatedDemo {
    stage: DemoStage,
    replicas: Vec<ReplicaProcess>,
    nats: NatsNodes,
}

/// Runs the demo with so many replicas, for so many seconds.
pub(super) async fn play(
    stage: DemoStage,
    settings: &Settings,
    dir: &Path,
    (count, nats_server): (usize, &Path),
    seconds: Option<u64>,
) -> anyhow::Result<Exit> {
    let began = stage.clock.moment();
    let mut demo = ReplicatedDemo::start(stage, settings, dir, (count, nats_server)).await?;
    let leader = demo.leader().await?;
    let next = (leader + 1) % count;
    demo.show(leader);
    let mut cats = DemoConsumer::new(TAGS[0], &demo.replicas[leader].address(), None);
    let mut dogs = DemoConsumer::new(TAGS[1], &demo.replicas[next].address(), None);
    demo.stage.pump_until([&mut cats, &mut dogs], have_begun).await?;
    let (own, other) = (&demo.replicas[leader].name, &demo.replicas[next].name);
    print_status(format_args!("\n1. {own} reads X. The consumer of cats is at {own}, that of dogs at {other}.\n"));
    demo.stage.truth.resume();
    demo.stage.pump_until([&mut cats, &mut dogs], |viewers| has_all(viewers, [5; 2])).await?;
    demo.kill_leader((leader, next), &mut cats, &mut dogs).await?;
    demo.start_again(leader, &mut cats, &mut dogs).await?;
    print_status(format_args!("\n4. Try it yourself:\n{}", demo.commands()));
    let Some(seconds) = seconds else {
        // Consumers that are not polled would count as stalled.
        drop((cats, dogs));
        print_status(format_args!("Running until Ctrl-C."));
        return std::future::pending().await;
    };
    let end = began.plus(Duration::from_secs(seconds));
    demo.stage.attend_until(end, [&mut cats, &mut dogs]).await?;
    let exit = demo.stage.summary(cats, dogs, true).await?;
    demo.stop().await?;
    Ok(exit)
}

impl ReplicatedDemo {
    /// Starts the servers of NATS and the replicas, and waits until they listen.
    async fn start(
        stage: DemoStage,
        settings: &Settings,
        dir: &Path,
        (count, nats_server): (usize, &Path),
    ) -> anyhow::Result<Self> {
        let nats = NatsNodes::start(&stage, nats_server, dir).await?;
        let key = format!("{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>());
        state_file::write_atomic(&dir.join("token.key"), key.as_bytes())
            .context("cannot write the key of the tokens")?;
        let mut settings = settings.clone();
        // Rules are not managed by replicas.
        settings.accounts.iter_mut().for_each(|account| account.rules = AccountConfig::default());
        let mut replicas = Vec::new();
        for n in 0..count {
            let mut replica = ReplicaProcess::new(n, &settings, dir, &nats.addresses)?;
            replica.start()?;
            replicas.push(replica);
        }
        for replica in &mut replicas {
            replica.listening(&stage).await?;
        }
        Ok(Self { stage, replicas, nats })
    }

    /// Waits until one replica leads and reads X.
    async fn leader(&self) -> anyhow::Result<usize> {
        let mut leader = None;
        let leads = async || {
            leader = None;
            for (n, replica) in self.replicas.iter().enumerate() {
                let role = replica.info(&self.stage.clock).await.map(|info| info.role());
                if role == Some(ReplicaRole::Leader) {
                    leader = Some(n);
                }
            }
            leader.is_some() && self.stage.truth.connections().live == 1
        };
        self.stage.wait_until("a replica leads and reads X", leads).await?;
        leader.context("it was found")
    }

    fn show(&self, leader: usize) {
        let nats: Vec<_> = self.nats.addresses.iter().map(ToString::to_string).collect();
        print_status(format_args!(
            "simulator of X on {}, three servers of NATS on {}",
            self.stage.truth.base_url(),
            nats.join(", ")
        ));
        for (n, replica) in self.replicas.iter().enumerate() {
            let role = if n == leader { "leads" } else { "follows" };
            print_status(format_args!("{} on {} {role}", replica.name, replica.address()));
        }
    }

    /// Kills the replica that leads. Its consumer continues at another one with its token.
    async fn kill_leader(
        &mut self,
        (leader, next): (usize, usize),
        cats: &mut DemoConsumer,
        dogs: &mut DemoConsumer,
    ) -> anyhow::Result<()> {
        self.replicas[leader].kill();
        let token = cats.resume_at(&self.replicas[next].address())?;
        let name = &self.replicas[leader].name;
        print_status(format_args!(
            "\n2. {name} is killed. The last resume token of the consumer of cats:\n   {token}\n"
        ));
        let DemoStage { clock, truth, .. } = &self.stage;
        let due = || TAGS.map(|tag| self.stage.due(tag));
        let (before, began, connects) = (due(), clock.moment(), truth.counters().connects);
        let is_back = || truth.connections().live == 1 && truth.counters().connects > connects;
        self.stage.pump_until([&mut *cats, &mut *dogs], |_| is_back()).await?;
        let (away, after) = (clock.moment().since(began), due());
        self.stage.pump_until([cats, dogs], |viewers| has_all(viewers, after)).await?;
        let missed = after.iter().sum::<usize>() - before.iter().sum::<usize>();
        let name = &self.replicas[self.leader().await?].name;
        print_status(format_args!(
            "\n   {name} reads X after {:.1} s: X sent {missed} posts of cats and dogs meanwhile; backfill recovered all of them",
            away.as_secs_f64()
        ));
        Ok(())
    }

    /// Starts the killed replica again, and waits until it has what the others have.
    async fn start_again(&mut self, n: usize, cats: &mut DemoConsumer, dogs: &mut DemoConsumer) -> anyhow::Result<()> {
        let name = self.replicas[n].name.clone();
        print_status(format_args!("\n3. {name} is started again.\n"));
        self.replicas[n].start()?;
        self.replicas[n].listening(&self.stage).await?;
        let (stage, own) = (&self.stage, &self.replicas[n]);
        let follows = async || {
            let info = own.info(&stage.clock).await.unwrap_or_default();
            info.role() == ReplicaRole::Follower && !info.leader.is_empty() && info.lag_messages == 0
        };
        stage.wait_until(&format!("{name} follows"), follows).await?;
        cats.resume_at(&own.address())?;
        let due = TAGS.map(|tag| stage.due(tag));
        stage.pump_until([cats, dogs], |viewers| has_all(viewers, due)).await?;
        print_status(format_args!("\n   {name} follows, and the consumer of cats is back at {name}"));
        Ok(())
    }

    fn commands(&self) -> String {
        let mut commands = String::new();
        for replica in &self.replicas {
            let Some((admin, pid)) = replica.admin_and_pid() else { continue };
            let (name, address) = (&replica.name, replica.address());
            let target = address.trim_start_matches("http://");
            commands.push_str(&format!(
                "   {name}: grpcurl -plaintext {target} powerstream.gateway.v1.StreamService/GetStream\n   \
                 {name}: curl -s {admin}/metrics | grep -v '^#' | grep replica\n   \
                 {name}: kill -9 {pid}\n"
            ));
        }
        commands
    }

    /// Stops all replicas in order.
    async fn stop(mut self) -> anyhow::Result<()> {
        for replica in &self.replicas {
            replica.terminate()?;
        }
        let replicas = &mut self.replicas;
        self.stage
            .wait_until("the replicas have stopped", async || replicas.iter_mut().all(ReplicaProcess::has_ended))
            .await
    }
}
