//! What is measured: rates, subscribers, durability, cores; and how much of it.

use std::path::PathBuf;

use crate::peers::{Filters, Gateway};
use crate::run::OTHER;
use crate::wire::Fault;

/// One setting of load and server.
#[derive(Clone, Debug)]
pub struct Setup {
    pub name: String,
    pub per_second: u64,
    pub subscribers: usize,
    /// Posts that come at once.
    pub burst: u32,
    pub filters: Filters,
    /// Durability of the gateway, if not the default.
    pub durability: Option<&'static str>,
    /// Whether the server has one core, and the load the other.
    pub pinned: bool,
}

impl Setup {
    fn new(per_second: u64, subscribers: usize) -> Self {
        Self {
            name: format!("{per_second}x{subscribers}"),
            per_second,
            subscribers,
            burst: 1,
            filters: Filters::Equal,
            durability: None,
            pinned: true,
        }
    }

    fn named(self, suffix: &str) -> Self {
        Self { name: format!("{}-{suffix}", self.name), ..self }
    }

    /// Whether the peers have this setting, too.
    pub fn is_of_peers(&self) -> bool {
        self.durability.is_none() && self.filters == Filters::Equal
    }
}

/// Rates and numbers of subscribers of everything.
const RATES: [u64; 3] = [100, 1_000, 5_000];
const SUBSCRIBERS: [usize; 3] = [1, 10, 100];
/// Sessions of which one matches.
const NARROW: usize = 10_000;
/// Posts of a burst; one comes every 50 ms.
const BURST: u32 = 50;

fn all() -> Vec<Setup> {
    let mut all: Vec<Setup> =
        RATES.iter().flat_map(|rate| SUBSCRIBERS.map(|subscribers| Setup::new(*rate, subscribers))).collect();
    let base = || Setup::new(1_000, 10);
    all.push(Setup { pinned: false, ..base().named("unpinned") });
    all.push(Setup { burst: BURST, ..base().named("bursts") });
    all.push(Setup { durability: Some("memory"), ..base().named("memory") });
    all.push(Setup { durability: Some("sync"), ..base().named("sync") });
    all.push(Setup { filters: Filters::Distinct, ..base().named("filters") });
    all.push(Setup { filters: Filters::Narrow, ..Setup::new(1_000, NARROW).named("narrow") });
    all
}

/// Sizes of a run.
#[derive(Clone, Debug)]
pub struct Plan {
    pub rounds: usize,
    /// How long a row of a round plays.
    pub seconds: f64,
    pub setups: Vec<Setup>,
    /// The gateway that it is compared with.
    pub other: Other,
    /// Words of which one is in the name of each row that is measured; all rows without any.
    rows: Vec<String>,
}

/// A gateway to compare with: another build, or this one with a setting changed.
#[derive(Clone, Debug, Default)]
pub struct Other {
    program: Option<PathBuf>,
    variable: Option<(String, String)>,
}

impl Other {
    fn from_env() -> Self {
        let variable = std::env::var("LATENCY_OTHER_SETTING").ok();
        let variable = variable.and_then(|text| text.split_once('=').map(|(name, value)| (name.into(), value.into())));
        Self { program: std::env::var_os("LATENCY_OTHER_PROGRAM").map(PathBuf::from), variable }
    }

    fn is_given(&self) -> bool {
        self.program.is_some() || self.variable.is_some()
    }

    /// Returns the other one, for a setup of this.
    pub fn of(&self, gateway: Gateway) -> Gateway {
        Gateway { program: self.program.clone(), variable: self.variable.clone(), ..gateway }
    }
}

impl Plan {
    /// Nine rounds of all setups, or what the environment asks for.
    pub fn from_env() -> Result<Self, Fault> {
        let value = |name: &str| std::env::var(name).ok();
        let number = |name: &str, default: f64| match value(name) {
            None => Ok(default),
            Some(text) => text.parse::<f64>().map_err(|_| format!("{name}={text}: no number")),
        };
        let words = |name: &str| -> Vec<String> {
            value(name).iter().flat_map(|list| list.split(',')).map(str::to_owned).collect()
        };
        let wanted = words("LATENCY_SETUPS");
        let mut setups = all();
        if let Some(unknown) = wanted.iter().find(|word| !setups.iter().any(|setup| setup.name == **word)) {
            let names: Vec<_> = setups.iter().map(|setup| setup.name.as_str()).collect();
            return Err(format!("LATENCY_SETUPS={unknown}: of {names:?}"));
        }
        setups.retain(|setup| wanted.is_empty() || wanted.contains(&setup.name));
        let (rounds, seconds) = (number("LATENCY_ROUNDS", 9.0)? as usize, number("LATENCY_SECONDS", 2.0)?);
        Ok(Self { rounds, seconds, setups, other: Other::from_env(), rows: words("LATENCY_ROWS") })
    }

    /// Whether a row of this name is measured.
    pub fn measures(&self, row: &str) -> bool {
        if row == OTHER && !self.other.is_given() {
            return false;
        }
        self.rows.is_empty() || self.rows.iter().any(|word| row.contains(word.as_str()))
    }
}
