//! The registry of metrics and its text form.
//!
//! Names: `powerstream_gateway_…` for metrics of the gateway, with the label `account` for metrics of an account;
//! `process_…` for metrics of the process, as in other Prometheus clients.

use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::info::Info;
pub use prometheus_client::registry::Registry as Part;

pub use super::exposition::Format;
pub use super::instruments::{ComputedGauge, DurationCounts, Histogram};
use crate::model::{AccountName, UnixMillis};
use crate::telemetry::process;

/// Prefix of every metric of the gateway.
pub const PREFIX: &str = "powerstream_gateway";

/// Maximum values of a label whose values come from clients; the rest share the value `other`.
pub const LABEL_VALUES_MAX: usize = 200;

/// Label: principal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PrincipalLabel {
    /// Its name.
    pub principal: String,
}

/// The metrics of the process. Clones share them.
#[derive(Clone, Debug)]
pub struct Registry {
    root: Arc<Mutex<Part>>,
    /// Registries whose metrics are included.
    adopted: Arc<Mutex<Vec<Registry>>>,
}

impl Registry {
    /// Creates a registry with metrics of the process and the build; `started` is the start of the process.
    pub fn new(started: UnixMillis) -> Self {
        let mut root = Part::default();
        root.register_collector(Box::new(process::ProcessCollector { started }));
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        root.sub_registry_with_prefix(PREFIX).register("build", "Version of the gateway", build);
        Self { root: Arc::new(Mutex::new(root)), adopted: Arc::default() }
    }

    /// Creates an empty registry for a part that may fail to start, for [`Registry::adopt`] once it has started.
    pub fn staged() -> Self {
        Self { root: Arc::default(), adopted: Arc::default() }
    }

    /// Includes the metrics of a staged registry.
    pub fn adopt(&self, staged: Self) {
        self.adopted.lock().push(staged);
    }

    /// Registers metrics of the whole process, under the prefix.
    pub fn process<M>(&self, register: impl FnOnce(&mut Part) -> M) -> M {
        register(self.root.lock().sub_registry_with_prefix(PREFIX))
    }

    /// Registers metrics whose names are common to all gRPC servers, without the prefix.
    pub fn common<M>(&self, register: impl FnOnce(&mut Part) -> M) -> M {
        register(&mut self.root.lock())
    }

    /// Registers metrics of one account, under the prefix and with the label `account`.
    pub fn account<M>(&self, account: &AccountName, register: impl FnOnce(&mut Part) -> M) -> M {
        let label = ("account".into(), account.to_string().into());
        register(self.root.lock().sub_registry_with_prefix(PREFIX).sub_registry_with_label(label))
    }

    /// Returns all metrics as OpenMetrics text.
    pub fn encode(&self) -> String {
        self.encode_as(Format::OpenMetrics)
    }

    /// Returns all metrics in a text form.
    pub fn encode_as(&self, format: Format) -> String {
        let mut text = String::new();
        for registry in std::iter::once(self).chain(&*self.adopted.lock()) {
            prometheus_client::encoding::text::encode(&mut text, &registry.root.lock())
                .expect("writing to a String cannot fail");
        }
        format.render(&text)
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;

    use super::*;

    fn registry() -> Registry {
        Registry::new(UnixMillis(1_700_000_000_500))
    }

    #[test]
    fn accounts_share_one_block_per_metric() {
        let registry = registry();
        for (name, count) in [("one", 1), ("two", 2)] {
            let account = AccountName::new(name).expect("a name");
            let staged = Registry::staged();
            let (posts, _other) = staged.account(&account, |part| {
                let (posts, bytes) = (Counter::<u64>::default(), Counter::<u64>::default());
                part.register("posts", "Posts received", posts.clone());
                part.register("bytes", "Bytes received", bytes.clone());
                (posts, bytes)
            });
            posts.inc_by(count);
            registry.adopt(staged);
        }
        let text = registry.encode();
        let block = "# HELP powerstream_gateway_posts Posts received.\n# TYPE powerstream_gateway_posts counter\n\
                     powerstream_gateway_posts_total{account=\"one\"} 1\n\
                     powerstream_gateway_posts_total{account=\"two\"} 2\n";
        assert!(text.contains(block), "{text}");
        assert_eq!(text.matches("# TYPE powerstream_gateway_bytes ").count(), 1, "{text}");
        assert_eq!(text.matches("# EOF\n").count(), 1, "{text}");
        assert!(text.ends_with("# EOF\n"), "{text}");
    }

    #[test]
    fn process_and_build_are_reported() {
        let registry = registry();
        let starts = Counter::<u64>::default();
        registry.process(|part| part.register("starts", "Starts", starts.clone()));
        let text = registry.encode();
        let build = format!("powerstream_gateway_build_info{{version=\"{}\"}} 1\n", env!("CARGO_PKG_VERSION"));
        for line in [
            "process_start_time_seconds 1700000000.5\n",
            "# TYPE process_resident_memory_bytes gauge\n",
            "\nprocess_open_fds ",
            "\nprocess_cpu_seconds_total ",
            "powerstream_gateway_starts_total 0\n",
            &build,
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
