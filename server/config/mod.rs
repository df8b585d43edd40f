//! Configuration: layers, schema, validation.
//!
//! Layers in ascending priority: one file (YAML or TOML), the environment
//! (`POWERSTREAM_GATEWAY__JOURNAL__DURABILITY=sync`, two underscores between the parts of a path), the command line.
//! Every key has a default except an account's name and the source of its bearer token.
//!
//! Owns: reading the layers (`layers`, `expansion`), the ranges of numbers (`ranges`), the JSON Schema and the faults
//! against it (`schema`), constraints between values (`validate`), and rendering (`render`). Does not own: the
//! sections, which are the `Config` structs of the modules that use them; secrets, of which only the source is known
//! here (I17); any use of the settings.
//!
//! A new section is one field of [`Settings`]; its constraints go to `validate.rs`.
//!
//! Invariants:
//! - Nothing is ignored: an unknown key is a fault in every layer (`each_fault_is_reported_with_path`).
//! - All faults are reported at once: a bad value does not hide the others (`all_faults_are_reported_at_once`).
//! - A fault never shows a value that may be a misplaced secret (`pasted_secret_is_not_shown`).
//! - Every number and duration has a range (`ranges`: `number_without_range_is_found`).
//! - Reading takes a bounded time for any file (`expansion`, `many_faults_are_found_in_time`).
//! - The rendered settings load as the same settings (`what_is_rendered_means_same`).
//! - `docs/config.example.yaml` contains every key with its default (`example_has_every_key_and_its_default`), and
//!   `docs/configuration.md` also its range (`reference_page_lists_every_setting`).

mod access;
mod account;
mod effective;
mod error;
mod expansion;
mod json_schema;
mod jwt;
mod layers;
mod ranges;
#[cfg(test)]
mod reference;
mod render;
mod replication;
mod schema;
mod settings;
mod validate;
mod validator;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{grpc, http, hub, ingest, journal, telemetry, upstream};

pub use account::{AccountSettings, Datacenter};
pub use effective::{ConfigOrigins, ValueOrigin};
pub use error::{ConfigError, ConfigErrors};
pub use layers::{ENVIRONMENT_PREFIX, environment};
#[cfg(test)]
pub(crate) use ranges::edges;
pub use render::example;
pub use schema::schema;
pub use settings::{ClockConfig, ReloadConfig, Settings};

impl Default for Settings {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("./data"),
            grpc: grpc::Config::default(),
            admin: http::Config::default(),
            upstream: upstream::Config::default(),
            ingest: ingest::Config::default(),
            journal: journal::Config::default(),
            replication: ingest::replication::Config::default(),
            hub: hub::Config::default(),
            rules: crate::rules::Config::default(),
            telemetry: telemetry::Config::default(),
            // Below the 30 s that Kubernetes gives a pod by default.
            shutdown_timeout: Duration::from_secs(25),
            account_retry_interval: Duration::from_secs(30),
            clock: ClockConfig::default(),
            token_key_files: Vec::new(),
            default_account: None,
            accounts: Vec::new(),
            auth: crate::access::AuthConfig::default(),
            roles: Vec::new(),
            principals: Vec::new(),
            limits: crate::access::LimitsConfig::default(),
            reload: ReloadConfig::default(),
        }
    }
}

impl Settings {
    /// Checks the constraints between values; [`load`] has done so.
    pub fn validate(&self) -> Result<(), ConfigErrors> {
        ConfigErrors::none_or(validate::faults(self))
    }

    /// Renders the settings as YAML, with every default filled in. Of a secret only the source is shown.
    pub fn render(&self) -> String {
        render::settings(self)
    }
}

/// Reads the layers: the file, the environment, and `overrides` as pairs of a path such as `journal.backend` and a
/// value; a list is written as JSON.
pub fn load(
    path: Option<&Path>,
    overrides: &[(String, String)],
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Settings, ConfigErrors> {
    load_layers(path, overrides, environment).map(|loaded| loaded.settings)
}

/// Settings, and the layers that their values come from.
#[derive(Clone, Debug)]
pub struct LoadedConfig {
    /// The settings.
    pub settings: Settings,
    /// The layer of each value.
    pub origins: ConfigOrigins,
}

/// As [`load`], with the layer of each value.
pub fn load_layers(
    path: Option<&Path>,
    overrides: &[(String, String)],
    environment: impl Iterator<Item = (String, String)>,
) -> Result<LoadedConfig, ConfigErrors> {
    let schema = schema();
    let mut merged = layers::read(&schema, path, overrides, environment)?;
    merged.faults.extend(schema::faults(&schema, &merged.tree));
    if merged.faults.len() > error::FAULTS_MAX {
        // Each further value would be compared with all of them.
        ConfigErrors::none_or(std::mem::take(&mut merged.faults))?;
    }
    let settings = schema::settings(&schema, &merged.tree, &mut merged.faults)?;
    for fault in validate::faults(&settings) {
        if !merged.faults.iter().any(|known| known.covers(&fault)) {
            merged.faults.push(fault);
        }
    }
    for fault in &mut merged.faults {
        fault.origin =
            merged.origins.iter().find(|origin| fault.touches(&origin.path)).map(|origin| origin.name.clone());
    }
    ConfigErrors::none_or(merged.faults)?;
    let overrides = merged.origins.iter().map(|own| (own.path.clone(), own.variable.clone()));
    Ok(LoadedConfig { settings, origins: ConfigOrigins::new(&merged.file, overrides) })
}

#[cfg(test)]
mod tests;
