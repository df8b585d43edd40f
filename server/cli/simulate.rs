//! `simulate`: runs the simulator of X.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::exit::Exit;
use super::terminal::print_status;
use crate::clock::Clock;
use crate::model::UnixMillis;
use crate::simulator::{self, Script, Simulator, SimulatorHandle};
use crate::task::{Signals, TaskGroup};

/// Flags of `simulate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1:8099")]
    listen: SocketAddr,
    /// Generated posts per second; posts that match no rule are not sent.
    #[arg(long)]
    rate: Option<f64>,
    /// Seed of every random decision.
    #[arg(long)]
    seed: Option<u64>,
    /// Send the posts of this file (JSON lines) instead of generated ones.
    #[arg(long, value_name = "FILE")]
    posts: Option<PathBuf>,
    /// Set matching_rules of the posts of --posts from the rules, and send only matching posts.
    #[arg(long = "match", requires = "posts")]
    match_posts: bool,
    /// Send no posts until POST /simulator/pause?on=false.
    #[arg(long)]
    paused: bool,
    /// Rule and its tag, as TAG=RULE; repeatable. Default: five example rules.
    #[arg(long = "rule", value_name = "TAG=RULE", value_parser = rule)]
    rules: Vec<simulator::InitialRule>,
    /// Rules of a file: X's JSON {"rules": [{"value", "tag"}]}, or a YAML list of the same.
    #[arg(long = "rules", value_name = "FILE", conflicts_with = "rules")]
    rules_file: Option<PathBuf>,
    /// Settings of the simulator, YAML or JSON; flags override it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Play this timeline of faults, YAML; docs/drills.md describes the format.
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    /// Exit when the script ends.
    #[arg(long, requires = "script")]
    exit_after_script: bool,
    /// Rate of the clock relative to real time; must equal the gateway's clock.rate.
    #[arg(long, default_value_t = 1.0, value_parser = clock_rate)]
    clock_rate: f64,
    /// Time at which this clock equals real time, in milliseconds since 1970; the gateway's clock.origin_ms.
    #[arg(long, value_name = "MS")]
    clock_origin_ms: Option<i64>,
}

/// The range of the gateway's clock.rate.
fn clock_rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.001..=10_000.0).contains(rate));
    rate.ok_or_else(|| "give a number from 0.001 to 10000".to_owned())
}

fn rule(text: &str) -> Result<simulator::InitialRule, String> {
    let (tag, value) = text.split_once('=').ok_or("write TAG=RULE, as in cats='cat lang:en'")?;
    Ok(simulator::InitialRule { value: value.into(), tag: (!tag.is_empty()).then(|| tag.into()) })
}

fn rules_of(path: &Path) -> anyhow::Result<Vec<simulator::InitialRule>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    simulator::parse_rules(&text).map_err(|faults| anyhow::anyhow!("{}:\n{faults}", path.display()))
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
        if let Some(path) = &self.rules_file {
            config.rules = rules_of(path)?;
        }
        config.posts = self.posts.clone().or(config.posts);
        config.match_posts |= self.match_posts;
        Ok(config)
    }
}

impl Args {
    /// The settings and the script, both found right before anything begins.
    fn checked(&self) -> anyhow::Result<(simulator::Config, Option<Script>)> {
        let config = self.config()?;
        let Some(path) = &self.script else { return Ok((config, None)) };
        let text = std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
        let script =
            Script::parse(&text, &config).map_err(|faults| anyhow::anyhow!("{}:\n{faults}", path.display()))?;
        Ok((config, Some(script)))
    }
}

/// The counters that are not zero, by name.
fn happened(handle: &SimulatorHandle) -> String {
    let counters = serde_json::to_value(handle.counters()).unwrap_or_default();
    let named = counters.as_object().into_iter().flatten().filter(|(_, count)| **count != 0);
    named.map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
}

/// Plays the script, if there is one; returns when that is a reason to stop.
async fn play(args: &Args, script: Option<Script>, handle: &SimulatorHandle) {
    if let Some(script) = script {
        script.play(handle, |step, done| print_status(format_args!("{step}: {done}"))).await;
        print_status(format_args!("the script is done: {} steps; so far: {}", script.steps().len(), happened(handle)));
        if args.exit_after_script {
            return;
        }
    }
    std::future::pending().await
}

/// Runs the simulator until a signal.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let (config, script) = match args.checked() {
        Ok(checked) => checked,
        Err(error) => {
            print_status(format_args!("error: {error:#}"));
            return Ok(Exit::Usage);
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(async {
        let tasks = TaskGroup::new();
        let mut signals = Signals::listen().context("cannot listen to signals")?;
        let listener = TcpListener::bind(args.listen).with_context(|| format!("cannot listen on {}", args.listen))?;
        let clock = Clock::with_rate(args.clock_rate, args.clock_origin_ms.map(UnixMillis));
        let handle = Simulator::start(config, listener, clock, &tasks)?;
        if args.paused {
            handle.pause();
        }
        print_status(format_args!(
            "simulator of X on {} (truth: GET /simulator/truth, state: GET /simulator/state)",
            handle.base_url()
        ));
        tokio::select! {
            _ = signals.next() => {}
            () = play(args, script, &handle) => {}
            () = tasks.shutdown().cancelled() => {}
        }
        tasks.shutdown().cancel();
        match tasks.failure() {
            Some(reason) => Err(anyhow::Error::msg(reason)),
            None => Ok(Exit::Done),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drills_of_documentation_can_be_played() {
        let drills = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/drills");
        let files = std::fs::read_dir(drills).expect("they are there");
        let mut steps = 0;
        for file in files {
            let path = file.expect("it is readable").path();
            let text = std::fs::read_to_string(&path).expect("it is text");
            let script = Script::parse(&text, &simulator::Config::default());
            steps += script.unwrap_or_else(|faults| panic!("{}:\n{faults}", path.display())).steps().len();
        }
        assert!(steps > 20, "{steps}");
    }

    #[test]
    fn drills_page_lists_every_action_and_error() {
        let page = include_str!("../../docs/drills.md");
        let quoted = |error: &simulator::StreamError| {
            serde_json::to_value(error).expect("a word").as_str().map(str::to_owned).expect("a word")
        };
        let errors: Vec<_> = simulator::StreamError::ALL.iter().map(quoted).collect();
        let names = simulator::Action::NAMES.into_iter().chain(simulator::ErrorResponse::NAMES);
        for name in names.chain(errors.iter().map(String::as_str)) {
            assert!(page.contains(&format!("`{name}`")), "{name} is missing");
        }
    }

    #[test]
    fn script_is_checked_before_anything_begins() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("script.yaml");
        std::fs::write(&path, "steps:\n  - {at: 1s, cutt: {}}\n  - {at: 2s}\n").expect("it is ours");
        let line = ["simulate", "--script", path.to_str().expect("UTF-8")];
        let args = <TestLine as clap::Parser>::parse_from(line).args;
        let message = format!("{:#}", args.checked().expect_err("two faults"));
        assert!(
            message.contains("step 1 (at 1s): unknown variant `cutt`") && message.contains("step 2 (at 2s):"),
            "{message}"
        );
    }

    #[test]
    fn rules_file_replaces_example_rules() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("rules.yaml");
        let args = |path: &Path| {
            <TestLine as clap::Parser>::parse_from(["simulate", "--rules", path.to_str().expect("UTF-8")]).args
        };
        std::fs::write(&path, "- {value: otter, tag: otters}\n- walrus\n").expect("it is ours");
        let (config, _) = args(&path).checked().expect("two rules");
        assert_eq!(config.rules.iter().map(|rule| &*rule.value).collect::<Vec<_>>(), ["otter", "walrus"]);
        std::fs::write(&path, "- -otter\n- the\n").expect("it is ours");
        let error = format!("{:#}", args(&path).checked().expect_err("two faults"));
        assert!(error.contains("rules.yaml:\nrule 1: \"-otter\"") && error.contains("\nrule 2: \"the\""), "{error}");
    }

    #[derive(clap::Parser)]
    struct TestLine {
        #[command(flatten)]
        args: Args,
    }
}
