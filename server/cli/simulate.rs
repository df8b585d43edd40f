//! `simulate`: the stand-in for X as a server of its own.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;

use anyhow::Context;

use super::{Exit, say};
use crate::clock::Clock;
use crate::model::UnixMillis;
use crate::simulator::{self, Simulator};
use crate::task::{Signals, Tasks};

/// Flags of `simulate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:8099")]
    listen: SocketAddr,
    /// Posts drawn per second; those that no rule matches are not sent.
    #[arg(long)]
    rate: Option<f64>,
    /// Seed of every random decision.
    #[arg(long)]
    seed: Option<u64>,
    /// Play the posts of this file (JSON lines) instead of drawing them.
    #[arg(long, value_name = "FILE")]
    posts: Option<PathBuf>,
    /// Fill matching_rules of played posts from the rules, and send only what matches.
    #[arg(long = "match", requires = "posts")]
    match_posts: bool,
    /// Make no posts until POST /simulator/resume.
    #[arg(long)]
    paused: bool,
    /// A rule and its tag, as TAG=RULE; may be given again. The default has five.
    #[arg(long = "rule", value_name = "TAG=RULE", value_parser = rule)]
    rules: Vec<simulator::InitialRule>,
    /// Settings of the simulator, YAML or JSON; flags win over it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How many times as fast as real time the clock runs; the gateway's clock.rate must be the same.
    #[arg(long, default_value_t = 1.0)]
    clock_rate: f64,
    /// When this clock and the real one agree, in milliseconds since 1970; the gateway's clock.origin_ms.
    #[arg(long, value_name = "MS")]
    clock_origin_ms: Option<i64>,
}

fn rule(text: &str) -> Result<simulator::InitialRule, String> {
    let (tag, value) = text.split_once('=').ok_or("write TAG=RULE, as in cats='cat lang:en'")?;
    Ok(simulator::InitialRule { value: value.into(), tag: (!tag.is_empty()).then(|| tag.into()) })
}

/// Rules that the posts drawn here match often.
pub(super) fn example_rules() -> Vec<simulator::InitialRule> {
    [("cats", "cat"), ("dogs", "dog"), ("japanese", "lang:ja"), ("links", "has:links"), ("retweets", "is:retweet")]
        .map(|(tag, value)| simulator::InitialRule { value: value.into(), tag: Some(tag.into()) })
        .into()
}

impl Args {
    fn config(&self) -> anyhow::Result<simulator::Config> {
        let mut config = match &self.config {
            None => simulator::Config { rules: example_rules(), ..simulator::Config::default() },
            Some(path) => {
                let file = config::File::from(path.as_path());
                let read = config::Config::builder().add_source(file).build()?;
                read.try_deserialize().with_context(|| format!("{} cannot be used", path.display()))?
            }
        };
        if let Some(rate) = self.rate {
            config.rate = rate;
        }
        if let Some(seed) = self.seed {
            config.seed = seed;
        }
        if !self.rules.is_empty() {
            config.rules.clone_from(&self.rules);
        }
        config.posts = self.posts.clone().or(config.posts);
        config.match_posts |= self.match_posts;
        Ok(config)
    }
}

/// Runs the simulator until it is told to stop.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let config = match args.config() {
        Ok(config) => config,
        Err(error) => {
            say(format_args!("error: {error:#}"));
            return Ok(Exit::Usage);
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(async {
        let tasks = Tasks::new();
        let mut signals = Signals::listen().context("cannot listen to signals")?;
        let listener = TcpListener::bind(args.listen).with_context(|| format!("cannot listen on {}", args.listen))?;
        let clock = Clock::with_rate(args.clock_rate, args.clock_origin_ms.map(UnixMillis));
        let handle = Simulator::start(config, listener, clock, &tasks)?;
        if args.paused {
            handle.pause();
        }
        say(format_args!(
            "simulator of X on {} (truth: GET /simulator/truth, state: GET /simulator/state)",
            handle.base_url()
        ));
        tokio::select! {
            _ = signals.next() => {}
            () = tasks.shutdown().cancelled() => {}
        }
        tasks.shutdown().cancel();
        match tasks.failure() {
            Some(reason) => Err(anyhow::Error::msg(reason)),
            None => Ok(Exit::Done),
        }
    })
}
